"""``latentext batch run``: all steps in one command, for money or as a rehearsal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from latentext.cli import batch_steps as steps
from latentext.cli.batch_tables import summary
from latentext.cli.pairs_options import load
from latentext.cli.run import limits_from
from latentext.cli.wording import counted
from latentext.errors import BudgetError

if TYPE_CHECKING:
    from latentext.engines.batch.clock import Clock
    from latentext.engines.batch.ledger import Ledger
    from latentext.engines.batch.remote import Remote
    from latentext.engines.batch.workspace import BatchWorkspace
    from latentext.studies.pairs import PairTask, PairTokenizer
    from latentext.studies.pairs.proposal_batches import BatchProposals
    from latentext.studies.pairs.proposing import Harvest

REHEARSAL = Path("rehearsal")
_OF_A_REHEARSAL = re.compile(r"(request|output|error)_batch\d+\.jsonl|(batch_metadata|output)\.json")
_ON = "the same command with more --rounds asks on"


@dataclass(frozen=True)
class Judging:
    """What is made of the answers: the options of ``batch process``."""

    target: int
    output: Path
    tokenizer: Sequence[str] | None
    config_dir: Path | None
    cache_dir: Path | None
    details: bool
    force: bool

    def tokenizers(self) -> tuple[PairTokenizer, ...]:
        """Those asked for, or the three that are the default."""
        return load(self.tokenizer, self.cache_dir)

    def of(
        self,
        task: PairTask,
        place: BatchWorkspace,
        output: Path,
        tokenizers: Sequence[PairTokenizer],
        note: Callable[[str], None] | None = None,
    ) -> Harvest:
        """Judge what is here and write it."""
        folders = place.outputs, place.requests
        return steps.judge(*folders, task, tokenizers, self.target, output, details=self.details, note=note)


@dataclass(frozen=True)
class Spending:
    """What may be sent: the options of ``batch submit``."""

    enqueued_tokens: int | None
    max_cost: float | None
    max_tokens_total: int | None
    prices: Path | None
    attempts: int


@dataclass(frozen=True)
class FurtherRounds:
    """When what is missing is asked for again: so many rounds in all, and not under this yield."""

    rounds: int
    minimum_yield: float

    def wanted(self, ledger: Ledger, found: Harvest) -> bool:
        """Whether another round is to be asked; says why not."""
        from latentext.studies.pairs.proposal_batches import requests_of, rounds_of

        if found.complete:
            return False
        asked = requests_of(ledger) * int(ledger.about.get("scenarios_per_request", 1))
        if found.valid < self.minimum_yield * asked:
            typer.echo(f"{found.valid:,} of {asked:,} pairs asked for are valid and new, under the floor (--min-yield)")
            return False
        if rounds_of(ledger) >= self.rounds:
            typer.echo(f"{counted(rounds_of(ledger), 'round')} asked, as many as --rounds allows")
            return False
        return True


Connect = Callable[[], tuple["Ledger", "Remote", "Clock"]]


def run(
    proposals: BatchProposals,
    request_dir: Path,
    output_dir: Path,
    base_url: str | None,
    judging: Judging,
    spending: Spending,
    more: FurtherRounds,
) -> int:
    """Do what is left to do, from wherever an earlier command came to."""
    from latentext.engines.batch.workspace import BatchWorkspace
    from latentext.studies.pairs import check_place
    from latentext.studies.pairs.checkpoint import Checkpoint

    name = proposals.task.task_name
    place = BatchWorkspace(request_dir / name, output_dir / name)
    _refuse_unpriced(place, proposals.model, base_url, spending)
    kept = Checkpoint(place.requests)
    check_place(judging.output, overwrite=judging.force or kept.may_replace(judging.output))
    note = partial(kept.note_output, judging.output)
    tokenizers = judging.tokenizers()  # Before anything is paid for: without them nothing can be judged.
    with place.alone():
        _create_if_missing(place, proposals, spending)
        found = _all_rounds(
            place,
            proposals,
            lambda: steps.connected(place, base_url),
            lambda: judging.of(proposals.task, place, judging.output, tokenizers, note),
            spending,
            more,
        )
    return steps.exit_code_of(found, _ON)


def _all_rounds(
    place: BatchWorkspace,
    proposals: BatchProposals,
    connect: Connect,
    judge: Callable[[], Harvest],
    spending: Spending,
    more: FurtherRounds,
) -> Harvest:
    """Ask and judge until there are as many scenarios as wanted, or no further round may be asked.

    Raises:
        BudgetError: a cap was reached; what was paid for is judged and written all the same.
    """
    from latentext.studies.pairs.proposal_batches import add_round

    while True:
        capped: BudgetError | None = None
        if not (ledger := place.ledger()).settled:
            ledger, remote, clock = connect()
            try:
                ledger = _run_batches(place, ledger, remote, clock, spending)
            except BudgetError as error:  # What was paid for is here: it is judged before the command ends.
                capped, ledger = error, place.ledger()
        prices = steps.price_table(spending.prices, ledger.base_url)
        steps.print_spent(place, ledger, prices)
        if capped is None or any(place.outputs.glob("*.jsonl")):
            found = judge()
        if capped is not None:
            raise capped
        if not more.wanted(ledger, found):
            return found
        typer.echo("a further round asks for what is missing")
        ledger = add_round(place, proposals, found, proposals.limits(spending.enqueued_tokens))
        steps.print_created(place, ledger, prices)


def rehearse(proposals: BatchProposals, judging: Judging, spending: Spending, more: FurtherRounds) -> int:
    """The same with a server of our own that answers from a fixed mixture; nothing is paid and no key is needed."""
    from latentext.cli.pairs_summary import print_projections
    from latentext.engines.batch.clock import Clock
    from latentext.engines.batch.remote import open_remote
    from latentext.engines.batch.workspace import BatchWorkspace
    from latentext.engines.server.credentials import PLACEHOLDER
    from latentext.engines.server.standin import StandIn
    from latentext.engines.server.standin.batches import BatchDesk
    from latentext.spec import SHIPPED_PRICES
    from latentext.storage import filesystem
    from latentext.studies.pairs.mixture import proposal_replies, rehearsal_tokenizer
    from latentext.studies.pairs.projection import YIELDS
    from latentext.studies.pairs.proposing import PROPOSAL_DECODING

    task, spending = proposals.task, replace(spending, prices=spending.prices or Path(SHIPPED_PRICES))
    place = BatchWorkspace(REHEARSAL / "requests" / task.task_name, REHEARSAL / "batch_outputs" / task.task_name)
    tokenizers = judging.tokenizers() if judging.tokenizer else (rehearsal_tokenizer(task, judging.config_dir),)
    clock = Clock(sleep=lambda seconds: time.sleep(min(seconds, 0.01)))  # The stand-in is never late.
    with StandIn(proposal_replies(task, judging.config_dir)) as server, place.alone():
        for path in (*place.requests.iterdir(), *place.outputs.glob("*")):
            if _OF_A_REHEARSAL.fullmatch(path.name):
                filesystem.remove(path)
        BatchDesk(server)
        _create_if_missing(place, proposals, spending)
        place.save(place.ledger().model_copy(update={"base_url": server.url}))
        remote = open_remote(server.url, clock, key=PLACEHOLDER)
        found = _all_rounds(
            place,
            proposals,
            lambda: (place.ledger(), remote, clock),
            lambda: judging.of(task, place, REHEARSAL / judging.output.name, tokenizers),
            spending,
            more,
        )
    typer.echo("That was a rehearsal: the answers were made up, and nothing was paid. The real run would cost:")
    print_projections(
        task,
        judging.target,
        YIELDS,
        model=proposals.model,
        decoding=PROPOSAL_DECODING,
        pairs_each=proposals.scenarios_per_request,
        prices=steps.price_table(spending.prices, None),
        seed=proposals.seed,
    )
    return steps.exit_code_of(found, _ON)


def _refuse_unpriced(place: BatchWorkspace, model: str, base_url: str | None, spending: Spending) -> None:
    """Refuse a cap on money that cannot be kept, before anything is made."""
    from latentext.engines.batch.ledger import read_ledger
    from latentext.engines.server.budget import refuse_unpriced
    from latentext.engines.server.credentials import server_address

    ledger = read_ledger(place.requests)
    address = ledger.base_url if ledger is not None and base_url is None else server_address(base_url)
    limits = limits_from(spending.max_cost, spending.max_tokens_total)
    refuse_unpriced(limits, steps.price_table(spending.prices, address).of(model), model)


def _create_if_missing(place: BatchWorkspace, proposals: BatchProposals, spending: Spending) -> None:
    from latentext.engines.batch.ledger import read_ledger
    from latentext.studies.pairs.proposal_batches import create_batches

    if (ledger := read_ledger(place.requests)) is not None:
        typer.echo(f"{'nothing is left to send' if ledger.settled else 'going on'}: {summary(ledger)}")
        return
    ledger = create_batches(place, proposals, proposals.limits(spending.enqueued_tokens))
    steps.print_created(place, ledger, steps.price_table(spending.prices, None))


def _run_batches(place: BatchWorkspace, ledger: Ledger, remote: Remote, clock: Clock, spending: Spending) -> Ledger:
    from latentext.engines.batch.workflow import run_batches

    conditions = steps.conditions_of(
        place,
        ledger,
        spending.enqueued_tokens,
        spending.max_cost,
        spending.max_tokens_total,
        spending.prices,
        spending.attempts,
    )
    return run_batches(place, ledger, remote, clock, typer.echo, conditions, show=lambda now: typer.echo(summary(now)))
