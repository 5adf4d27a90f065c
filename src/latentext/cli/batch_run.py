"""``latentext batch run``: all steps in one command, for money or as a rehearsal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from latentext.cli import batch_steps as steps
from latentext.cli.batch_tables import summary
from latentext.errors import BudgetError, SpecError

if TYPE_CHECKING:
    from latentext.engines.openai.batches.clock import Clock
    from latentext.engines.openai.batches.ledger import Ledger
    from latentext.engines.openai.batches.remote import Remote
    from latentext.engines.openai.batches.workspace import Workspace
    from latentext.pairs.proposing import Harvest
    from latentext.recipes.proposal_batches import Proposals

REHEARSAL = Path("rehearsal")


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

    def of(self, task: str, place: Workspace, output: Path, *, force: bool) -> Harvest:
        """Judge what is here and write it."""
        return steps.judge(
            place.outputs,
            place.requests,
            task,
            self.target,
            output,
            self.tokenizer,
            self.config_dir,
            self.cache_dir,
            details=self.details,
            force=force,
        )


@dataclass(frozen=True)
class Spending:
    """What may be sent: the options of ``batch submit``."""

    enqueued_tokens: int | None
    max_cost: float | None
    max_tokens_total: int | None
    prices: Path | None
    attempts: int


def run(
    task: str,
    proposals: Proposals,
    request_dir: Path,
    output_dir: Path,
    base_url: str | None,
    judging: Judging,
    spending: Spending,
) -> int:
    """Do what is left to do, from wherever an earlier command came to."""
    from latentext.engines.openai.batches.workspace import Workspace

    if judging.output.exists() and not judging.force:
        raise SpecError("exists already", where=str(judging.output), remedy="choose another --output, or pass --force")
    name = proposals.task.task_name
    place = Workspace(request_dir / name, output_dir / name)
    capped: BudgetError | None = None
    with place.alone():
        _create_if_missing(place, proposals, spending)
        ledger, remote, clock = steps.connected(place, base_url)
        try:
            ledger = _run_batches(place, ledger, remote, clock, spending)
        except BudgetError as error:  # What was paid for is here: it is judged before the command ends.
            capped, ledger = error, place.ledger()
    steps.print_spent(place, ledger, steps.price_table(spending.prices, ledger.base_url))
    if capped is not None and not any(place.outputs.glob("*.jsonl")):
        raise capped
    found = judging.of(task, place, judging.output, force=judging.force)
    if capped is not None:
        raise capped
    return steps.exit_code_of(found)


def rehearse(task: str, proposals: Proposals, judging: Judging, spending: Spending) -> int:
    """The same with a server of our own that answers from a fixed mixture; nothing is paid and no key is needed."""
    from latentext.dataset import filesystem
    from latentext.engines.openai.batches.clock import Clock
    from latentext.engines.openai.batches.remote import open_remote
    from latentext.engines.openai.batches.workspace import Workspace
    from latentext.engines.openai.credentials import PLACEHOLDER
    from latentext.engines.openai.prices import SHIPPED
    from latentext.engines.openai.standin import StandIn
    from latentext.engines.openai.standin.batches import BatchDesk
    from latentext.pairs.proposing.mixture import proposal_replies

    spending = replace(spending, prices=spending.prices or Path(SHIPPED))
    name = proposals.task.task_name
    place = Workspace(REHEARSAL / "requests" / name, REHEARSAL / "batch_outputs" / name)
    clock = Clock(sleep=lambda seconds: time.sleep(min(seconds, 0.01)))  # The stand-in is never late.
    with StandIn(proposal_replies(proposals.task)) as server, place.alone():
        for folder in (place.requests, place.outputs):
            for path in folder.glob("*.json*"):
                filesystem.remove(path)
        BatchDesk(server)
        _create_if_missing(place, proposals, spending)
        ledger = place.save(place.ledger().model_copy(update={"base_url": server.url}))
        remote = open_remote(server.url, clock, key=PLACEHOLDER)
        ledger = _run_batches(place, ledger, remote, clock, spending)
    found = judging.of(task, place, REHEARSAL / judging.output.name, force=True)
    typer.echo("This was a rehearsal: the answers were made up, nothing was sent anywhere and nothing was paid.")
    return steps.exit_code_of(found)


def _create_if_missing(place: Workspace, proposals: Proposals, spending: Spending) -> None:
    from latentext.engines.openai.batches.ledger import read_ledger
    from latentext.recipes.proposal_batches import create_batches

    if (ledger := read_ledger(place.requests)) is not None:
        typer.echo(f"going on with {summary(ledger)}")
        return
    ledger = create_batches(place, proposals, proposals.limits(spending.enqueued_tokens))
    steps.print_created(place, ledger, steps.price_table(spending.prices, None))


def _run_batches(place: Workspace, ledger: Ledger, remote: Remote, clock: Clock, spending: Spending) -> Ledger:
    from latentext.engines.openai.batches.workflow import run_batches

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
