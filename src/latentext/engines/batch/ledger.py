"""``batch_metadata.json``: how far every batch of a folder has come. The whole truth about it on this side.

The file is written anew, atomically, before and after every step that another machine takes part in. So whatever the
instant of a kill, the next command knows for each batch what cannot have happened, what may have happened and what
has; docs/batch.md has the table of these windows. Times of the wall clock stand here and nowhere in a dataset.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from latentext.errors import DatasetError
from latentext.spec import Frozen
from latentext.storage.atomic import write_bytes

NAME = "batch_metadata.json"
FORMAT = 1


class BatchStatus(StrEnum):
    """What the server says of a batch: its eight words."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the batch stays as it is now."""
        return self in (BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)


class Step(StrEnum):
    """How far we are with a batch.

    ``planned``: nothing of it is at the server. ``uploading``: its file may be there. ``uploaded``: its file is
    there, and no batch. ``creating``: a batch may be there. ``submitted``: a batch is there. ``downloaded``: all that
    it gave is here. ``settled``: what it did not answer was put into a later file, or given up.
    """

    PLANNED = "planned"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    CREATING = "creating"
    SUBMITTED = "submitted"
    DOWNLOADED = "downloaded"
    SETTLED = "settled"


class Counts(Frozen):
    """The server's own count of a batch's requests."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchPart(Frozen):
    """One request file and the batch made of it.

    Attributes:
        number: N of ``request_batch{N}.jsonl``, ``output_batch{N}.jsonl`` and ``error_batch{N}.jsonl``.
        tag: what marks the uploaded file (its name) and the batch (its metadata) as this part's.
        requests, size, prompt_tokens: of the file; tokens are an estimate.
        attempt: 1, or one more than that of the parts whose requests are asked again here.
        retry_of: the numbers of the parts whose requests are asked again here.
        refusals: how often the server refused it because too many prompt tokens waited.
        hold_until: not before this time is it sent by itself again, after such a refusal.
        since: when the creation of the batch was last asked for, in seconds since 1970.
        asked: how often it was asked for.
        lost: it was once asked for without an answer, and not found: it may be there all the same.
        problem: why the server refused the batch, in its words.
        unanswered: requests that were given up, by kind of error; known once settled.
    """

    number: int
    tag: str
    requests: int
    size: int
    prompt_tokens: int
    model: str = ""
    endpoint: str = "/v1/chat/completions"
    attempt: int = 1
    retry_of: tuple[int, ...] = ()
    refusals: int = 0
    hold_until: float | None = None
    step: Step = Step.PLANNED
    since: float | None = None
    asked: int = 0
    lost: bool = False
    file_id: str | None = None
    batch_id: str | None = None
    status: BatchStatus | None = None
    counts: Counts = Counts()
    output_file_id: str | None = None
    error_file_id: str | None = None
    problem: str | None = None
    problem_code: str | None = None
    unanswered: dict[str, int] = Field(default_factory=dict)

    @property
    def may_cost(self) -> bool:
        """Whether a batch of it may be, or may have been, at the server."""
        return self.lost or self.step in (Step.CREATING, Step.SUBMITTED, Step.DOWNLOADED, Step.SETTLED)

    @property
    def has_answers(self) -> bool:
        """Whether all that the server gave is here."""
        return self.step in (Step.DOWNLOADED, Step.SETTLED)

    @property
    def waits_at_server(self) -> bool:
        """Whether its prompt tokens count against what may be enqueued."""
        return self.step is Step.SUBMITTED and not (self.status and self.status.ended)


class Ledger(Frozen):
    """All parts of a folder, by number, and what its maker wants to remember."""

    format: int = FORMAT
    name: str
    base_url: str | None = None
    about: dict[str, Any] = Field(default_factory=dict)
    parts: tuple[BatchPart, ...] = ()

    def part(self, number: int) -> BatchPart:
        """The part of this number."""
        return next(part for part in self.parts if part.number == number)

    def with_part(self, changed: BatchPart) -> Ledger:
        """The ledger with one part replaced, or added at the end."""
        if all(part.number != changed.number for part in self.parts):
            return self.model_copy(update={"parts": (*self.parts, changed)})
        parts = tuple(changed if part.number == changed.number else part for part in self.parts)
        return self.model_copy(update={"parts": parts})

    def at(self, *steps: Step) -> tuple[BatchPart, ...]:
        """The parts at one of these steps, in their order."""
        return tuple(part for part in self.parts if part.step in steps)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to send, to wait for or to fetch."""
        return all(part.step is Step.SETTLED for part in self.parts)


def new_tag(number: int) -> str:
    """A tag that no other part anywhere has.

    Example:
        >>> new_tag(3).startswith("latentext-3-"), new_tag(3) == new_tag(3)
        (True, False)
    """
    return f"latentext-{number}-{uuid.uuid4().hex}"


def write_ledger(folder: Path, ledger: Ledger) -> None:
    """Replace the file; it is on the disk when this returns."""
    text = json.dumps(ledger.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_bytes(folder / NAME, text.encode() + b"\n")


def read_ledger(folder: Path) -> Ledger | None:
    """The ledger of a folder, or None where there is none.

    Raises:
        DatasetError: the file is damaged, or of a later format.
    """
    path = folder / NAME
    try:
        document = json.loads(path.read_bytes())
        if isinstance(document, dict) and int(document.get("format", 0)) > FORMAT:
            raise DatasetError(f"has format {document['format']}, newer than this version knows", where=str(path))
        return Ledger.model_validate(document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(
            f"cannot be read ({reason})", where=str(path), remedy="restore it: it alone knows which batches were sent"
        ) from error


def next_number(parts: Iterable[BatchPart]) -> int:
    """The first number that no part has.

    Example:
        >>> next_number(())
        0
    """
    return max((part.number for part in parts), default=-1) + 1
