"""From requests on disk to answers on disk: what every command and the engine do in the same order.

`run_batches` goes on until everything is settled; the commands take the same steps one by one.
It may be killed at any instant and called again. A cap that forbids the next batch does not keep those that are paid
already from being fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from latentext.engines.batch.clock import Clock, backing_off
from latentext.engines.batch.downloading import download
from latentext.engines.batch.ledger import Ledger, Step
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.polling import LATEST_SECONDS, SOONEST_SECONDS, Show, refresh
from latentext.engines.batch.remote import Remote
from latentext.engines.batch.settling import settle
from latentext.engines.batch.submitting import FREE, Afford, Notify, reconcile, submit
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.errors import BudgetError

ATTEMPTS = 3


@dataclass(frozen=True)
class Conditions:
    """How batches are run.

    Attributes:
        limits: of a file, and of the prompt tokens that may wait at one time.
        attempts: how often a request is asked at most.
        afford: raises BudgetError where a part may not be paid for.
        fetched: called whenever answers may have come, before anything is asked again.
    """

    limits: BatchLimits = field(default_factory=BatchLimits)
    attempts: int = ATTEMPTS
    afford: Afford = FREE
    fetched: Show = lambda ledger: None


def run_batches(
    place: BatchWorkspace,
    ledger: Ledger,
    remote: Remote,
    clock: Clock,
    notify: Notify,
    conditions: Conditions,
    *,
    show: Show = lambda ledger: None,
) -> Ledger:
    """Send, wait for, fetch and settle until nothing is left; returns the ledger of the end.

    Args:
        show: called with every new state.

    Raises:
        BudgetError: a cap or the quota was reached; what was paid has been fetched. RefusedError, EngineError: the
            server does not do its part.
    """
    ledger = reconcile(place, ledger, remote, clock, notify)
    waits, capped = backing_off(SOONEST_SECONDS, LATEST_SECONDS), None
    while True:
        before = ledger
        ledger = download(place, ledger, remote, clock, notify)
        conditions.fetched(ledger)
        try:
            ledger = settle(place, ledger, clock, notify, attempts=conditions.attempts, limits=conditions.limits)
            if capped is None:
                ledger = send(place, ledger, remote, clock, notify, conditions, wait_for_queue=True)
        except BudgetError as error:
            capped, ledger = error, place.ledger()
        if ledger.settled:
            return ledger
        if capped is not None and not ledger.at(Step.SUBMITTED, Step.DOWNLOADED):
            raise capped
        ledger = refresh(place, ledger, remote, notify)
        if ledger != before:
            show(ledger)
            waits = backing_off(SOONEST_SECONDS, LATEST_SECONDS)
        if not any(part.status and part.status.ended for part in ledger.at(Step.SUBMITTED)):
            clock.sleep(next(waits))


def send(
    place: BatchWorkspace,
    ledger: Ledger,
    remote: Remote,
    clock: Clock,
    notify: Notify,
    conditions: Conditions,
    *,
    wait_for_queue: bool = False,
) -> Ledger:
    """Send what waits, as far as limits and caps allow."""
    return submit(
        place,
        ledger,
        remote,
        clock,
        notify,
        enqueued_tokens=conditions.limits.enqueued_tokens,
        afford=conditions.afford,
        wait_for_queue=wait_for_queue,
    )
