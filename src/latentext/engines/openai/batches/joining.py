"""Answers to requests, joined by custom_id: in any order, doubled, unknown, cut short or missing.

One pass over the output and error files notes for every custom_id where its line stands; the lines themselves stay on
the disk, and are read again one by one in the order of the requests. A line that answers goes before one that tells of
an error, so an answer that was paid is never lost to a later failure; of several answers the first counts, of several
errors the last.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentext.engines.openai.errors import ApiError, ApiErrorKind, of_batch_line
from latentext.errors import SpecError

_UNTRIED = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
"""Error codes of requests that the server never tried."""


@dataclass(frozen=True)
class Answer:
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
    file: int
    offset: int
    length: int
    answers: bool


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

    def answers(self, custom_ids: Iterable[str]) -> Iterator[Answer]:
        """What came for these requests, in this order; those for which nothing came are passed over."""
        opened = [path.open("rb") for path in self.files]
        try:
            for custom_id in custom_ids:
                if (place := self._places.get(custom_id)) is not None:
                    opened[place.file].seek(place.offset)
                    yield _answer(json.loads(opened[place.file].read(place.length)))
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


def read_outputs(files: Iterable[Path], *, asked: Collection[str] | None = None) -> Outputs:
    """Note where the answers stand.

    Args:
        asked: the custom_ids that were asked for; None takes every line for one that was.

    Raises:
        SpecError: a file is unreadable.
    """
    outputs = Outputs(tuple(files))
    for number, path in enumerate(outputs.files):
        try:
            with path.open("rb") as file:
                offset = 0
                for line in file:
                    if line.strip():
                        _note(outputs, line, _Place(number, offset, len(line), False), asked)
                    offset += len(line)
        except OSError as error:
            raise SpecError(f"cannot be read ({error.strerror})", where=str(path), remedy="check the path") from error
    return outputs


def _note(outputs: Outputs, line: bytes, place: _Place, asked: Collection[str] | None) -> None:
    try:
        document = json.loads(line)
        custom_id = document["custom_id"]
        if not isinstance(custom_id, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        outputs.broken += 1
        return
    if asked is not None and custom_id not in asked:
        outputs.unknown += 1
        return
    place = _Place(place.file, place.offset, place.length, _answer(document).error is None)
    before = outputs._places.get(custom_id)
    if before is not None:
        outputs.doubled += 1
    if before is None or not before.answers:
        outputs._places[custom_id] = place


def _answer(document: Mapping[str, Any]) -> Answer:
    custom_id = str(document["custom_id"])
    if (error := of_batch_line(document)) is not None:
        return Answer(custom_id, None, error)
    body = document["response"].get("body")
    if not isinstance(body, Mapping):
        return Answer(custom_id, None, ApiError(ApiErrorKind.SERVER, "the answer has no body"))
    return Answer(custom_id, body, None)
