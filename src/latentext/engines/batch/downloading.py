"""Fetching what ended batches gave: output and error files, whole or not at all.

A file takes its name only when as many bytes came as the server says it has, or, where the server does not say, when it
holds as many lines as the batch counted and the last one is whole. A connection that broke in the middle therefore
leaves nothing that could be taken for an answer. One that trickles would never time out between two bytes, so a file
also has a time in all, by its size. Fetching costs nothing, so after a kill it is simply done again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from latentext.dataset.receipts import sha256_of
from latentext.engines.batch.clock import Clock, backing_off
from latentext.engines.batch.ledger import Ledger, Step
from latentext.engines.batch.remote import RefusedError, Remote
from latentext.engines.batch.submitting import Notify
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.answer_size import MOST_ANSWER_BYTES, MOST_FILE_BYTES
from latentext.engines.server.redaction import RedactedStream, found_in_answers
from latentext.errors import DatasetError, EngineError
from latentext.storage import filesystem
from latentext.storage.atomic import PendingFile

OUTPUT_TOO_LARGE = "output-too-large"
"""The problem of a part whose output was not fetched whole."""

_TRIES = 5
_SECONDS_A_FILE = 300.0
_BYTES_A_SECOND = 16 << 10
"""A file gets so many seconds, and one more for so many of its bytes."""


def download(
    place: BatchWorkspace,
    ledger: Ledger,
    remote: Remote,
    clock: Clock,
    notify: Notify,
    *,
    most: int = MOST_FILE_BYTES,
) -> Ledger:
    """Fetch the files of every batch that has ended: completed, failed, expired or cancelled, in part or whole.

    Of a file beyond `most` bytes, unpacked, what came until then is kept; the other requests of its batch fail.

    Raises:
        EngineError: a file keeps coming short. RefusedError: the server does not answer, or has it no more.
        DatasetError: a file of the same name holds something else.
    """
    filesystem.make_folder(place.outputs)
    for part in ledger.at(Step.SUBMITTED):
        if part.status is None or not part.status.ended:
            continue
        wanted = (
            (part.output_file_id, place.output_file(part.number), part.counts.completed),
            (part.error_file_id, place.error_file(part.number), 0),
        )
        for file_id, path, lines in wanted:
            if file_id is None:
                continue
            received = _fetch(file_id, path, lines, most, remote, clock, notify)
            notify(f"batch {part.number}: {received:,} bytes in {path}")
            if received > most:
                problem = f"{path.name} is larger than {most / 2**20:,.0f} MiB, the limit; the rest was not fetched"
                notify(f"batch {part.number}: {problem}")
                part = part.model_copy(update={"problem": problem, "problem_code": OUTPUT_TOO_LARGE})
        ledger = place.save_part(ledger, part.model_copy(update={"step": Step.DOWNLOADED}))
    return ledger


def _fetch(file_id: str, path: Path, lines: int, most: int, remote: Remote, clock: Clock, notify: Notify) -> int:
    """Fetch one file; returns how many bytes came, more than `most` where the file is beyond it."""
    found = remote.redaction.found
    waits = backing_off(1.0, 30.0, factor=2)
    for _ in range(_TRIES):
        try:
            received = _fetch_once(file_id, path, lines, most, remote, clock)
            if times := remote.redaction.found - found:
                notify(f"{path.name}: {found_in_answers(times)}")
            return received
        except _Short as short:
            problem = str(short)
        except RefusedError as refused:
            if not refused.error.retried:
                raise
            problem = str(refused)
        notify(f"{path.name}: {problem}; fetching it again")
        clock.sleep(next(waits))
    raise EngineError(
        f"{file_id} came incomplete {_TRIES} times: {problem}", where=str(path), remedy="download again later"
    )


def _fetch_once(file_id: str, path: Path, lines: int, most: int, remote: Remote, clock: Clock) -> int:
    expected = remote.size_of(file_id)
    started, longest = clock.now(), _SECONDS_A_FILE + min(expected or 0, most) / _BYTES_A_SECOND
    file, counter, cleaned = PendingFile(path), _LineCounter(), RedactedStream(remote.redaction)
    received = 0

    def take(piece: bytes) -> None:
        nonlocal received
        received += len(piece)
        counter.take(piece)
        file.write(cleaned.take(piece))
        if received > most:
            raise _Beyond
        if (seconds := clock.now() - started) > longest:
            raise _Short(f"{received:,} bytes came in {seconds:,.0f} seconds, which is too slow")

    try:
        file.open()
        with suppress(_Beyond):
            remote.content(file_id, take)
        if expected is not None and received < min(expected, most):
            raise _Short(f"{received:,} of {expected:,} bytes came")
        if expected is None and received <= most and (found := counter.lines) < lines:
            raise _Short(f"{found:,} of {lines:,} lines came")
        file.write(cleaned.rest())
        file.finish()
        if path.exists() and sha256_of(path) != file.sha256:
            raise DatasetError(
                "holds answers of other batches, which were paid for",
                where=str(path),
                remedy="move the file away, or name another --output-dir",
            )
        file.commit()
    except BaseException:
        file.discard()
        raise
    return received


class _Short(Exception):  # noqa: N818 - never leaves this module
    """Less came than the server says there is."""


class _Beyond(Exception):  # noqa: N818 - never leaves this module
    """More came than a file may have."""


class _LineCounter:
    """Counts whole JSON lines in pieces of a file, and keeps no more than one line of it."""

    def __init__(self) -> None:
        self._complete = 0
        self._rest = bytearray()

    def take(self, piece: bytes) -> None:
        if b"\n" not in piece:
            if len(self._rest) <= MOST_ANSWER_BYTES:  # A longer line is no answer.
                self._rest += piece
            return
        first, *whole, rest = piece.split(b"\n")
        self._complete += sum(1 for line in (bytes(self._rest) + first, *whole) if line.strip())
        self._rest = bytearray(rest)

    @property
    def lines(self) -> int:
        """Lines so far; one without a line end counts if it is whole."""
        return self._complete + (1 if _is_json(bytes(self._rest)) else 0)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
