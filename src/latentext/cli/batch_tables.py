"""How batches stand, as a table and in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from latentext.cli.wording import columns, counted

if TYPE_CHECKING:
    from latentext.engines.batch.ledger import BatchPart, Ledger


def status_lines(ledger: Ledger) -> Iterator[str]:
    """One line a batch, and what follows from them all."""
    rows = [("batch", "state", "requests", "completed", "failed", "id")]
    for part in ledger.parts:
        counts = part.counts
        rows.append(
            (
                str(part.number),
                state(part),
                f"{part.requests:,}",
                f"{counts.completed:,}" if part.batch_id else "",
                f"{counts.failed:,}" if part.batch_id else "",
                part.batch_id or "",
            )
        )
    yield from columns(rows)
    for part in ledger.parts:
        if part.problem:
            yield f"batch {part.number}: {part.problem}"
        if part.unanswered:
            reasons = ", ".join(f"{count:,} {kind}" for kind, count in part.unanswered.items())
            yield f"batch {part.number}: given up: {reasons}"
    yield summary(ledger)


def state(part: BatchPart) -> str:
    """A part's state in words: the server's, with ours where the server does not know it yet or any more.

    Example:
        >>> from latentext.engines.batch.ledger import BatchPart, Step
        >>> state(BatchPart(number=0, tag="t", requests=1, size=1, prompt_tokens=1)), state(
        ...     BatchPart(number=0, tag="t", requests=1, size=1, prompt_tokens=1, step=Step.CREATING)
        ... )
        ('not sent', 'in doubt')
    """
    words = {"planned": "not sent", "uploading": "not sent", "uploaded": "not sent", "creating": "in doubt"}
    if part.step in words:
        return words[part.step]
    fetched = part.status != "failed" and part.step in ("downloaded", "settled")
    return f"{part.status} and fetched" if fetched else str(part.status)


def summary(ledger: Ledger) -> str:
    """All batches in one line.

    Example:
        ``10 batches: 8 completed, 2 in_progress; 431 of 500 requests answered``
    """
    states = Counter(state(part) for part in ledger.parts)
    first = [part for part in ledger.parts if part.attempt == 1 and not part.retry_of]
    asked, answered = sum(part.requests for part in first), sum(part.counts.completed for part in ledger.parts)
    listed = ", ".join(f"{count} {word}" for word, count in sorted(states.items()))
    batches = f"{len(ledger.parts)} batch{'' if len(ledger.parts) == 1 else 'es'}"
    return f"{batches}: {listed}; {answered:,} of {counted(asked, 'request')} answered"


def next_step(ledger: Ledger) -> str | None:
    """The command that goes on from here; None if there is nothing left to do but to process."""
    steps = {part.step.value for part in ledger.parts}
    if steps & {"planned", "uploading", "uploaded", "creating"}:
        return "latentext batch submit"
    if any(part.step == "submitted" and part.status and part.status.ended for part in ledger.parts):
        return "latentext batch download"
    if "submitted" in steps:
        return "latentext batch status --watch"
    return None
