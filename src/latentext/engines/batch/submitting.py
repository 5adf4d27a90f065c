"""Sending batches, so that no instant of a kill and no lost reply leads to a batch that is paid twice.

For each part: the ledger says ``uploading``, the file goes up under the part's tag as its name; the ledger says
``uploaded`` and the file's id; the ledger says ``creating`` and the time, the batch is asked for with the tag in its
metadata; the ledger says ``submitted`` and the batch's id. Whoever comes after a kill finds the last of these:

* ``uploading``: no batch can be there, since none was asked for. Files of that name are deleted, and we begin again.
* ``creating``: a batch may be there. It is looked for, by tag and by input file, with growing waits for ten minutes
  after it was asked for (lists of a large service lag behind); only then may it be asked for again.

A batch that the server's list shows under one of our tags is adopted whatever the ledger says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from latentext.engines.batch.clock import Clock, backing_off
from latentext.engines.batch.ledger import BatchPart, BatchStatus, Ledger, Step
from latentext.engines.batch.remote import RefusedError, Remote, RemoteBatch, ReplyLost
from latentext.engines.batch.request_files import describe_file
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.errors import EngineError

LOOKUP_SECONDS = 600.0
LONGEST_HOLD_SECONDS = 900.0
"""How long a part that was refused for a full queue is kept back at most."""
_UPLOAD_TRIES = 4
_RATE_TRIES = 8
Notify = Callable[[str], None]


class Afford:
    """Asked before anything of a part is sent, and told if nothing came of it; this one is for who set no cap."""

    def __call__(self, ledger: Ledger, part: BatchPart) -> None:
        """Let a part pass, which then counts at its upper bound.

        Raises:
            BudgetError: it may not be paid for.
        """

    def give_back(self, part: BatchPart) -> None:
        """The server refused the part: no batch was made of it."""


FREE = Afford()


def reconcile(
    place: BatchWorkspace, ledger: Ledger, remote: Remote, clock: Clock, notify: Notify, *, just_asked: bool = False
) -> Ledger:
    """Find out what became of every part that a killed command, or a lost reply, left in doubt.

    The clock is read once; then we count what we slept. So a clock that jumps while we look neither ends the looking
    too early, which could pay for a batch twice, nor draws it out.

    Args:
        just_asked: this very command asked for them: they are looked for the whole time, whatever the clock says.

    Raises:
        RefusedError: the server does not answer our questions.
    """
    if ledger.at(Step.PLANNED, Step.UPLOADING, Step.UPLOADED, Step.CREATING):
        ledger = adopt(place, ledger, remote, remote.batches(), notify)
    if unsure := ledger.at(Step.UPLOADING):
        ledger = _delete_orphans(place, ledger, remote, unsure, notify)
    waits, began, slept = backing_off(2.0, 60.0), clock.now(), 0.0
    while doubtful := ledger.at(Step.CREATING):
        left = {part.number: _left(part, began, just_asked=just_asked) - slept for part in doubtful}
        if over := [part for part in doubtful if left[part.number] <= 0]:
            for part in over:
                gone = part.model_copy(update={"step": Step.UPLOADED, "since": None, "lost": True})
                ledger = place.save_part(ledger, gone)
            continue
        wait = min(next(waits), *left.values())
        notify(
            f"batch {', '.join(str(part.number) for part in doubtful)}: no answer said whether it was made; looking "
            f"for it, for {min(left.values()):.0f} seconds at most, before it is sent again"
        )
        clock.sleep(wait)
        slept += wait
        ledger = adopt(place, ledger, remote, remote.batches(), notify)
    return ledger


def _left(part: BatchPart, now: float, *, just_asked: bool) -> float:
    """Seconds for which a part's batch is to be looked for; a time that lies before its asking is no time to count."""
    passed = 0.0 if just_asked else now - (part.since or 0.0)
    return LOOKUP_SECONDS - max(0.0, passed)


def submit(
    place: BatchWorkspace,
    ledger: Ledger,
    remote: Remote,
    clock: Clock,
    notify: Notify,
    *,
    enqueued_tokens: int | None = None,
    afford: Afford = FREE,
    wait_for_queue: bool = False,
) -> Ledger:
    """Send every part that waits, as far as `enqueued_tokens` has room; call `reconcile` first.

    Args:
        wait_for_queue: leave a part that was refused for a full queue until its time has come.

    Raises:
        RefusedError: the server refused one, for a reason that would meet all others too. BudgetError: see `afford`.
    """
    for part in ledger.at(Step.PLANNED, Step.UPLOADED):
        # Longer than the longest hold lies ahead only if the clock went back: then it says nothing.
        if wait_for_queue and 0.0 < (part.hold_until or 0.0) - clock.now() <= LONGEST_HOLD_SECONDS:
            continue
        queued = sum(other.prompt_tokens for other in ledger.parts if other.waits_at_server)
        if enqueued_tokens is not None and queued and queued + part.prompt_tokens > enqueued_tokens:
            notify(f"batch {part.number} and those after it wait: {queued:,} prompt tokens are enqueued")
            break
        ledger = _send(place, ledger, part, remote, clock, notify, afford)
    return ledger


def _send(
    place: BatchWorkspace, ledger: Ledger, part: BatchPart, remote: Remote, clock: Clock, notify: Notify, afford: Afford
) -> Ledger:
    """Bring one part to ``submitted``."""
    afford(ledger, part)
    try:
        if part.step is Step.PLANNED or not _still_there(remote, part):
            part = describe_file(place.request_file(part.number), part)
            ledger, part = _upload(place, ledger, part, remote, clock, notify)
        return _create(place, ledger, part, remote, clock, notify)
    except (RefusedError, EngineError):
        now = place.ledger().part(part.number)
        if now.step is not Step.CREATING and not now.lost:
            afford.give_back(now)
        raise


def _create(
    place: BatchWorkspace, ledger: Ledger, part: BatchPart, remote: Remote, clock: Clock, notify: Notify
) -> Ledger:
    """Ask for the batch of a file that is there, until the server says that it is made."""
    waits = backing_off(2.0, 60.0, factor=2)
    for _ in range(_RATE_TRIES):
        part = part.model_copy(update={"step": Step.CREATING, "since": clock.now(), "asked": part.asked + 1})
        ledger = place.save_part(ledger, part)
        try:
            made = remote.create(part.file_id or "", part.endpoint, part.tag)
        except ReplyLost as lost:
            notify(f"batch {part.number}: the reply to its creation was lost ({lost.error.message})")
            ledger = reconcile(place, ledger, remote, clock, notify, just_asked=True)
            part = ledger.part(part.number)
            if part.step is Step.SUBMITTED:
                return ledger
        except RefusedError as refused:
            part = part.model_copy(update={"step": Step.UPLOADED, "since": None})
            ledger = place.save_part(ledger, part)
            if refused.error.unsent or not refused.error.retried:
                raise
            clock.sleep(refused.error.retry_after or next(waits))
        else:
            notify(f"batch {part.number}: {part.requests:,} requests sent as {made.id}")
            return place.save_part(ledger, told(part, made))
    raise EngineError(f"the server did not take batch {part.number} in {_RATE_TRIES} tries", remedy="try again later")


def _upload(
    place: BatchWorkspace, ledger: Ledger, part: BatchPart, remote: Remote, clock: Clock, notify: Notify
) -> tuple[Ledger, BatchPart]:
    """Bring one part from ``planned`` to ``uploaded``."""
    waits = backing_off(2.0, 60.0, factor=2)
    for _ in range(_UPLOAD_TRIES):
        part = part.model_copy(update={"step": Step.UPLOADING})
        ledger = place.save_part(ledger, part)
        try:
            file_id = remote.upload(place.request_file(part.number), file_name(part))
        except ReplyLost:
            clock.sleep(next(waits))
            ledger = _delete_orphans(place, ledger, remote, [part], notify)
        except RefusedError as refused:
            ledger = place.save_part(ledger, part.model_copy(update={"step": Step.PLANNED}))
            if refused.error.unsent or not refused.error.retried:
                raise
            clock.sleep(refused.error.retry_after or next(waits))
        else:
            part = part.model_copy(update={"step": Step.UPLOADED, "file_id": file_id})
            return place.save_part(ledger, part), part
    raise EngineError(f"the file of batch {part.number} could not be sent", remedy="try again later")


def _still_there(remote: Remote, part: BatchPart) -> bool:
    """Whether the file that an earlier command sent is at the server still, and is the one that we would send."""
    try:
        return remote.size_of(part.file_id or "") in (part.size, None)
    except RefusedError as refused:
        if refused.error.status == 404:
            return False
        raise


def file_name(part: BatchPart) -> str:
    """What a part's file is called at the server: nobody else's file can be called so."""
    return f"{part.tag}.jsonl"


def _delete_orphans(
    place: BatchWorkspace, ledger: Ledger, remote: Remote, parts: Iterable[BatchPart], notify: Notify
) -> Ledger:
    """Delete files of parts of which no batch was ever asked for, and put these parts back to ``planned``."""
    names = {file_name(part) for part in parts}
    for found in remote.files():
        if found.name in names:
            remote.delete_file(found.id)
            notify(f"deleted {found.name}: it was sent, but no batch was made of it")
    for part in parts:
        ledger = place.save_part(ledger, part.model_copy(update={"step": Step.PLANNED, "file_id": None}))
    return ledger


def adopt(
    place: BatchWorkspace, ledger: Ledger, remote: Remote, found: Iterable[RemoteBatch], notify: Notify
) -> Ledger:
    """Take remote batches that carry a tag of ours as the parts' own; of two with one tag the later is cancelled."""
    by_age = sorted(found, key=lambda batch: (batch.created_at, batch.id))
    for part in ledger.parts:
        ours = [
            batch for batch in by_age if batch.tag == part.tag or (part.file_id and batch.input_file_id == part.file_id)
        ]
        if not ours or part.step in (Step.DOWNLOADED, Step.SETTLED):
            continue
        kept = next((batch for batch in ours if batch.id == part.batch_id), ours[0])
        for extra in (batch for batch in ours if batch.id != kept.id and not batch.status.ended):
            if extra.status is not BatchStatus.CANCELLING:
                notify(f"batch {part.number}: {extra.id} carries the tag of {kept.id} and is cancelled")
                remote.cancel(extra.id)
        if part.batch_id is None:
            notify(f"batch {part.number}: found {kept.id} at the server")
            part = part.model_copy(update={"file_id": kept.input_file_id})
            ledger = place.save_part(ledger, told(part, kept))
    return ledger


def told(part: BatchPart, batch: RemoteBatch) -> BatchPart:
    """The part with what the server says of its batch."""
    return part.model_copy(
        update={
            "step": Step.SUBMITTED,
            "batch_id": batch.id,
            "status": batch.status,
            "counts": batch.counts,
            "output_file_id": batch.output_file_id,
            "error_file_id": batch.error_file_id,
            "problem": batch.problem,
            "problem_code": batch.problem_code,
        }
    )
