"""Answers to requests, joined by custom_id: in any order, doubled, unknown, cut short or missing.

One pass over the output and error files notes for every custom_id where its line stands; the lines themselves stay on
the disk, and are read again one by one in the order of the requests. A line that answers goes before one that tells of
an error, so an answer that was paid is never lost to a later failure; of several answers the first counts, of several
errors the last. A line that is longer than its answer may be is an error, and is never read whole.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from latentext.engines.server.answer_size import MOST_ANSWER_BYTES, TooLargeError
from latentext.engines.server.errors import ApiError, ApiErrorKind, of_batch_line
from latentext.engines.server.server_text import parse_json
from latentext.errors import SpecError

_UNTRIED = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
"""Error codes of requests that the server never tried."""

_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*("(?:[^"\\]|\\.){1,512}")')
_BEGINNING = 64 << 10
_SKIPPED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class BatchAnswer:
    """What came back for one request: the body of a chat completion, or an error.

    Attributes:
        body: as the server sent it, with choices and usage; None if there is an error.
        error: None if there is a body.
    """

    custom_id: str
    body: Mapping[str, Any] | None
    error: ApiError | None

    @property
    def outcome(self) -> str:
        """``answered``, ``expired``, ``cancelled``, or the kind of the error."""
        if self.error is None:
            return "answered"
        return _UNTRIED.get(self.error.code or "", str(self.error.kind))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line stands; `beyond` is the limit that it exceeds, if it does."""

    file: int
    offset: int
    length: int
    answers: bool = False
    beyond: int | None = None


@dataclass
class Outputs:
    """All lines of some output and error files, by custom_id.

    Attributes:
        doubled: lines for a custom_id that has one already.
        unknown: lines for a custom_id that nobody asked for.
        broken: lines that are no JSON objects with a custom_id, such as half a line at the end of a file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "output_batch0.jsonl")
        >>> line = '{"custom_id": "b", "response": {"status_code": 200, "body": {"choices": []}}}'
        >>> _ = path.write_text(line + '\\n{"cust')
        >>> outputs = read_outputs([path], asked={"a", "b"})
        >>> [answer.custom_id for answer in outputs.answers(["a", "b"])], outputs.broken
        (['b'], 1)
    """

    files: tuple[Path, ...]
    doubled: int = 0
    unknown: int = 0
    broken: int = 0
    _places: dict[str, _Place] = field(default_factory=dict)

    def __contains__(self, custom_id: str) -> bool:
        return custom_id in self._places

    def __len__(self) -> int:
        return len(self._places)

    def ids(self) -> Iterator[str]:
        """Every custom_id that has a line, in the order in which they were first met."""
        return iter(self._places)

    def answers(self, custom_ids: Iterable[str]) -> Iterator[BatchAnswer]:
        """What came for these requests, in this order; those for which nothing came are passed over."""
        opened = [path.open("rb") for path in self.files]
        try:
            for custom_id in custom_ids:
                place = self._places.get(custom_id)
                if place is not None and place.beyond is not None:
                    too_large = TooLargeError(place.beyond, " for one answer")
                    yield BatchAnswer(custom_id, None, ApiError(ApiErrorKind.TOO_LARGE, str(too_large)))
                elif place is not None:
                    opened[place.file].seek(place.offset)
                    yield _answer(parse_json(opened[place.file].read(place.length)))
        finally:
            for file in opened:
                file.close()

    def tally(self, custom_ids: Iterable[str]) -> Counter[str]:
        """How many of these requests were answered, failed (by kind) or are missing.

        Example:
            ``Counter({"answered": 48, "rate": 1, "missing": 1})``
        """
        asked = list(custom_ids)
        kinds = Counter(answer.outcome for answer in self.answers(asked))
        if missing := sum(custom_id not in self for custom_id in asked):
            kinds["missing"] = missing
        return kinds


def read_outputs(files: Iterable[Path], *, asked: Collection[str] | Mapping[str, int] | None = None) -> Outputs:
    """Note where the answers stand.

    Args:
        asked: the custom_ids that were asked for, where it is known with the bytes that each answer may have; None
            takes every line for one that was.

    Raises:
        SpecError: a file is unreadable.
    """
    outputs = Outputs(tuple(files))
    for number, path in enumerate(outputs.files):
        try:
            with path.open("rb") as file:
                offset = 0
                for line, length in _lines(file):
                    if line.strip():
                        _note(outputs, line, _Place(number, offset, length), asked)
                    offset += length
        except OSError as error:
            raise SpecError(f"cannot be read ({error.strerror})", where=str(path), remedy="check the path") from error
    return outputs


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line of a file and its length; of a line beyond the limit its beginning alone."""
    while line := file.readline(MOST_ANSWER_BYTES + 1):
        length = len(line)
        while not line.endswith(b"\n") and length > MOST_ANSWER_BYTES and (more := file.readline(_SKIPPED_AT_ONCE)):
            line, length = line[:_BEGINNING] + more[-1:], length + len(more)
        yield line, length


def _note(outputs: Outputs, line: bytes, place: _Place, asked: Collection[str] | Mapping[str, int] | None) -> None:
    custom_id, document = _document(line) if place.length <= MOST_ANSWER_BYTES else (_name_of(line), {})
    if custom_id is None:
        outputs.broken += 1
        return
    if asked is not None and custom_id not in asked:
        outputs.unknown += 1
        return
    most = asked.get(custom_id, MOST_ANSWER_BYTES) if isinstance(asked, Mapping) else MOST_ANSWER_BYTES
    if place.length > most:
        place = replace(place, beyond=most)
    else:
        place = replace(place, answers=_answer(document).error is None)
    before = outputs._places.get(custom_id)
    if before is not None:
        outputs.doubled += 1
    if before is None or not before.answers:
        outputs._places[custom_id] = place


def _document(line: bytes) -> tuple[str | None, Mapping[str, Any]]:
    """The custom_id and the JSON object of a line; None where it is none that has one."""
    try:
        document = parse_json(line)
    except (ValueError, RecursionError):
        return None, {}
    if not isinstance(document, Mapping) or not isinstance(custom_id := document.get("custom_id"), str):
        return None, {}
    return custom_id, document


def _name_of(beginning: bytes) -> str | None:
    """The custom_id of a line that is too long to be read."""
    found = _CUSTOM_ID.search(beginning)
    try:
        return str(json.loads(found[1])) if found else None
    except ValueError:
        return None


def _answer(document: Mapping[str, Any]) -> BatchAnswer:
    custom_id = str(document["custom_id"])
    if (error := of_batch_line(document)) is not None:
        return BatchAnswer(custom_id, None, error)
    body = document["response"].get("body")
    if not isinstance(body, Mapping):
        return BatchAnswer(custom_id, None, ApiError(ApiErrorKind.SERVER, "the answer has no body", may_have_cost=True))
    return BatchAnswer(custom_id, body, None)
