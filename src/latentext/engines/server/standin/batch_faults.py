"""What may go wrong with a stand-in's batches: chosen when it is made, never over the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Ending:
    """How one batch ends.

    Attributes:
        status: its last word.
        answered: how many of its requests are answered before that; None: all, or none of a failed batch.
        code, message: of the error of a failed batch.
    """

    status: Literal["completed", "failed", "expired", "cancelled"] = "completed"
    answered: int | None = None
    code: str = "invalid_request"
    message: str = "the batch cannot be processed"


@dataclass(frozen=True)
class RequestFault:
    """An error in place of the first `times` answers of one request."""

    status: int
    error: Mapping[str, Any]
    times: int = 1


@dataclass(frozen=True)
class BatchFaults:
    """Faults of files and batches; the default is none.

    Attributes:
        lost_uploads, lost_creations: so many times the connection breaks after the file or batch was made.
        failed_creations: so many times creating answers 503 although the batch was made.
        rate_limited: so many requests to make something are answered 429 first, and nothing is made.
        hidden_lists: a new batch is missing from so many lists.
        short_downloads: so many times a file's content breaks off in the middle.
        silently_short: such a download looks complete to HTTP (its length is that of the part).
        sizes: whether the server says how long files are.
        endings: how the first batches end, in the order of their creation; later ones complete.
        shuffled, doubled, unknown, half_line: lines of output files come in reverse, twice, with a stranger among
            them, with half a line at the end.
        missing: custom_ids that are left out of output the first time.
        requests: custom_id, or prompt, → an error in place of its answers.
        edit: fields of every answer that are replaced, as in `Fault.edit`.
        spoiled: what comes in place of every answer, though it was made and billed.
    """

    lost_uploads: int = 0
    lost_creations: int = 0
    failed_creations: int = 0
    rate_limited: int = 0
    hidden_lists: int = 0
    short_downloads: int = 0
    silently_short: bool = False
    sizes: bool = True
    endings: tuple[Ending, ...] = ()
    shuffled: bool = False
    doubled: bool = False
    unknown: bool = False
    half_line: bool = False
    missing: frozenset[str] = frozenset()
    requests: Mapping[str, RequestFault] = field(default_factory=dict)
    edit: Mapping[str, Any] = field(default_factory=dict)
    spoiled: Literal["", "missing", "no body", "broken", "500"] = ""
