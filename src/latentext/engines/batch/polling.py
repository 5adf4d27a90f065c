"""Asking how batches stand, ever more seldom while nothing changes."""

from __future__ import annotations

from collections.abc import Callable

from latentext.engines.batch.clock import Clock, backing_off
from latentext.engines.batch.ledger import BatchPart, BatchStatus, Ledger, Step
from latentext.engines.batch.remote import RefusedError, Remote
from latentext.engines.batch.submitting import Notify, adopt, told
from latentext.engines.batch.workspace import BatchWorkspace

SOONEST_SECONDS = 5.0
LATEST_SECONDS = 300.0
NOT_KNOWN = "not_found"
"""The problem of a batch that the server does not know any more."""
Show = Callable[[Ledger], None]

_NOTABLE = (BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)
"""What a person is told of at once; how far the others are stands in the summary."""


def refresh(place: BatchWorkspace, ledger: Ledger, remote: Remote, notify: Notify) -> Ledger:
    """Ask about every batch that has not ended, and keep what the server says.

    Raises:
        RefusedError: the server does not answer.
    """
    waiting = [part for part in ledger.parts if part.waits_at_server]
    if any(part.asked > 1 for part in waiting):  # The first of two askings may have been heard after all.
        ledger = adopt(place, ledger, remote, remote.batches(), notify)
    before = ledger
    for part in waiting:
        ledger = ledger.with_part(_asked(ledger.part(part.number), remote, notify))
    return ledger if ledger == before else place.save(ledger)  # Once for all: what is lost is asked again.


def _asked(part: BatchPart, remote: Remote, notify: Notify) -> BatchPart:
    """The part with what the server says of its batch now."""
    try:
        now = told(part, remote.batch(part.batch_id or ""))
    except RefusedError as refused:
        if refused.error.status != 404:
            raise
        problem = f"the server does not know {part.batch_id}"
        now = part.model_copy(update={"status": BatchStatus.FAILED, "problem": problem, "problem_code": NOT_KNOWN})
    if now.status is not part.status and now.status in _NOTABLE:
        notify(f"batch {part.number}: {now.status}" + (f" ({now.problem})" if now.problem else ""))
    return now


def waiting_for(ledger: Ledger) -> str | None:
    """What a person waits for, in one line; None if no batch is at work.

    Example:
        >>> part = BatchPart(number=0, tag="t", requests=50, size=1, prompt_tokens=1, step=Step.SUBMITTED)
        >>> waiting_for(Ledger(name="m", parts=(part,)))
        '50 requests wait for 1 batch at the server'
    """
    parts = [part for part in ledger.parts if part.waits_at_server]
    if not parts:
        return None
    requests, done = sum(part.requests for part in parts), sum(part.counts.completed for part in parts)
    batches = "1 batch" if len(parts) == 1 else f"{len(parts):,} batches"
    words = ", ".join(sorted({part.status.value for part in parts if part.status is not None}))
    state = f" ({words}, {done:,} of {requests:,} done)" if words else ""
    return f"{requests:,} requests wait for {batches} at the server{state}"


def watch(
    place: BatchWorkspace,
    ledger: Ledger,
    remote: Remote,
    clock: Clock,
    notify: Notify,
    *,
    show: Show = lambda ledger: None,
) -> Ledger:
    """Ask again and again until every batch that was sent has ended.

    Args:
        show: called with every state that differs from the one before.
    """
    waits = backing_off(SOONEST_SECONDS, LATEST_SECONDS)
    while True:
        before, ledger = ledger, refresh(place, ledger, remote, notify)
        if ledger != before:
            show(ledger)
            waits = backing_off(SOONEST_SECONDS, LATEST_SECONDS)
        if not any(part.waits_at_server for part in ledger.parts):
            return ledger
        clock.sleep(next(waits))


def cancel(place: BatchWorkspace, ledger: Ledger, remote: Remote, notify: Notify) -> Ledger:
    """Ask the server to end every batch that has not ended; parts that were not sent stay as they are.

    Raises:
        RefusedError: the server does not answer.
    """
    for part in ledger.at(Step.SUBMITTED):
        if not part.waits_at_server or part.status is BatchStatus.CANCELLING:
            continue
        try:
            now = told(part, remote.cancel(part.batch_id or ""))
        except RefusedError as refused:  # It ended in the meantime: 409 or 400, and the next look says how.
            if refused.error.status not in (400, 409):
                raise
            now = told(part, remote.batch(part.batch_id or ""))
        notify(f"batch {part.number}: {now.status}")
        ledger = place.save_part(ledger, now)
    return ledger
