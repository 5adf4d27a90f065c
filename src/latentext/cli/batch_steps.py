"""What several commands of ``latentext batch`` do: find the folders, connect, say what it costs, judge the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from latentext.cli.batch_tables import next_step, status_lines
from latentext.cli.wording import counted, size
from latentext.errors import EXIT_DONE, EXIT_FAILED, SpecError

if TYPE_CHECKING:
    from latentext.engines.batch.clock import Clock
    from latentext.engines.batch.ledger import Ledger
    from latentext.engines.batch.limits import BatchLimits
    from latentext.engines.batch.remote import Remote
    from latentext.engines.batch.workflow import Conditions
    from latentext.engines.batch.workspace import BatchWorkspace
    from latentext.engines.server.prices import Prices
    from latentext.studies.pairs import PairTask, PairTokenizer
    from latentext.studies.pairs.proposing import Harvest


def places(request_dir: Path, output_dir: Path, task: str | None) -> list[BatchWorkspace]:
    """The folders of batches below `request_dir`, or that folder itself.

    Raises:
        SpecError: there are none.
        DatasetError: answers would be put into a dataset.
    """
    from latentext.dataset.outputs import refuse_in_dataset
    from latentext.engines.batch.ledger import NAME
    from latentext.engines.batch.workspace import BatchWorkspace

    refuse_in_dataset(output_dir)
    if (request_dir / NAME).is_file():
        return [BatchWorkspace(request_dir, output_dir / request_dir.resolve().name)]
    found = sorted(path.parent for path in request_dir.glob(f"*/{NAME}"))
    chosen = [folder for folder in found if task in (None, folder.name)]
    if not chosen:
        known = f"; there are batches of: {', '.join(folder.name for folder in found)}" if found else ""
        what = f"holds no batches of {task}" if task else "holds no batches"
        remedy = "begin with latentext batch create, or name another --request-dir"
        raise SpecError(what + known, where=str(request_dir), remedy=remedy)
    return [BatchWorkspace(folder, output_dir / folder.name) for folder in chosen]


def connected(place: BatchWorkspace, base_url: str | None) -> tuple[Ledger, Remote, Clock]:
    """The ledger, and a connection to the server that its batches are at.

    Raises:
        SpecError: batches were sent to another server. CredentialsError: there is no key.
    """
    from latentext.engines.batch.clock import Clock
    from latentext.engines.batch.ledger import Step
    from latentext.engines.batch.remote import open_remote
    from latentext.engines.server.credentials import server_address

    ledger = place.ledger()
    sent = len(ledger.at(Step.PLANNED)) < len(ledger.parts)
    address = ledger.base_url if sent and base_url is None else server_address(base_url)
    if sent and address != ledger.base_url:
        raise SpecError(
            f"its batches were sent to {ledger.base_url or 'OpenAI'}, not to {address or 'OpenAI'}",
            where=str(place.requests),
            remedy="leave --base-url out",
        )
    clock = Clock()
    remote = open_remote(address, clock)
    if address != ledger.base_url:
        ledger = place.save(ledger.model_copy(update={"base_url": address}))
    return ledger, remote, clock


def asked_status(place: BatchWorkspace, base_url: str | None, *, watch: bool) -> Ledger:
    """The ledger with what the server says now; as it stands where another command keeps it up to date."""
    from latentext.cli.batch_tables import summary
    from latentext.engines.batch import polling
    from latentext.engines.batch.workspace import BusyError

    try:
        with place.alone():
            ledger = place.ledger()
            if not any(part.waits_at_server for part in ledger.parts):
                return ledger
            ledger, remote, clock = connected(place, base_url)
            if not watch:
                return polling.refresh(place, ledger, remote, typer.echo)
            return polling.watch(place, ledger, remote, clock, typer.echo, show=lambda now: typer.echo(summary(now)))
    except BusyError:
        typer.echo("another command is at work on these batches; this is what it knows")
        return place.ledger()


def limits_of(ledger: Ledger, enqueued_tokens: int | None) -> BatchLimits:
    """Limits of files that are written later: those that are kept by the files that are there."""
    from latentext.engines.batch.limits import BatchLimits

    most = max((part.requests for part in ledger.parts), default=None)
    return BatchLimits(requests=most or BatchLimits().requests, enqueued_tokens=enqueued_tokens)


def conditions_of(
    place: BatchWorkspace,
    ledger: Ledger,
    enqueued_tokens: int | None,
    max_cost: float | None,
    max_tokens_total: int | None,
    prices: Path | None,
    attempts: int = 3,
) -> Conditions:
    """How these batches are to be run."""
    from latentext.engines.batch.costs import Caps
    from latentext.engines.batch.workflow import Conditions
    from latentext.spec.limits import Limits

    cap = None if max_cost is None else Decimal(str(max_cost))
    afford = Caps(place, Limits(cap, max_tokens_total), price_table(prices, ledger.base_url))
    return Conditions(limits_of(ledger, enqueued_tokens), attempts, afford)


def price_table(prices: Path | None, base_url: str | None) -> Prices:
    """The user's table, or the shipped one where OpenAI is asked."""
    from latentext.engines.server.prices import prices_for
    from latentext.spec import ApiOptions

    return prices_for(ApiOptions(prices=None if prices is None else str(prices)), base_url)


def print_status(ledger: Ledger) -> None:
    """The table of batches, and which command comes next."""
    for line in status_lines(ledger):
        typer.echo(line)
    typer.echo(f"next: {next_step(ledger) or 'latentext batch process'}")


def print_created(place: BatchWorkspace, ledger: Ledger, prices: Prices) -> None:
    """What was written, and what it may cost."""
    from latentext.engines.batch.costs import worst_of
    from latentext.engines.batch.ledger import Step
    from latentext.engines.server.spend import dollars, money

    parts = ledger.at(Step.PLANNED)
    requests, tokens = sum(part.requests for part in parts), sum(part.prompt_tokens for part in parts)
    files = f"{len(parts)} file{'' if len(parts) == 1 else 's'} of {size(sum(part.size for part in parts))}"
    typer.echo(f"{counted(requests, 'request')} in {files}: {place.requests}")
    pairs = requests * int(ledger.about.get("scenarios_per_request", 1))
    typer.echo(f"they ask for {counted(pairs, 'pair')}, with about {tokens:,} prompt tokens")
    model = parts[0].model if parts else ""
    if (price := prices.of(model)) is None:
        typer.echo(f"the price of {model} is not known; --prices names a table of your own")
        return
    worst = sum(worst_of(place, part, prices.of(part.model)).picodollars for part in parts)
    typer.echo(
        f"at most {money(dollars(worst))} as batches ({price.batch:g} of the price in real time, as of {prices.date}), "
        "if every answer were as long as it may be"
    )


def print_spent(place: BatchWorkspace, ledger: Ledger, prices: Prices) -> None:
    """What was spent on all that was sent."""
    from latentext.engines.batch.costs import spent_on

    typer.echo(f"spent: {spent_on(place, ledger.parts, prices)}")


def judge(
    answers: Path,
    requests: Path,
    task: PairTask,
    tokenizers: Sequence[PairTokenizer],
    target: int,
    output: Path,
    *,
    details: bool,
    note: Callable[[str], None] | None = None,
) -> Harvest:
    """Judge all proposals that are here, and write the dataset; what it may replace was checked before.

    Args:
        answers, requests: the folders of the task's output and request files, or the folders above them.
        note: see `latentext.studies.pairs.write_scenarios`.
    """
    from latentext.cli.pairs_summary import print_harvest
    from latentext.studies.pairs import write_scenarios
    from latentext.studies.pairs.proposal_batches import harvest, read_replies

    replies = read_replies(_own(answers, task.task_name), _own(requests, task.task_name))
    found = harvest(replies, task, tokenizers, target)
    # Before a line is printed: a closed pipe never costs the file.
    written = write_scenarios(output, found.scenarios, details=details, overwrite=True, note=note)
    outputs = replies.outputs
    tally = ", ".join(f"{count:,} {word}" for word, count in sorted(replies.tally().items()))
    typer.echo(f"{counted(len(replies.custom_ids), 'request')}: {tally}")
    for count, what in (
        (replies.pending, "requests wait for their batch to end"),
        (outputs.doubled, "lines were doubled"),
        (outputs.unknown, "lines answer what nobody asked"),
        (outputs.broken, "lines are broken"),
    ):
        if count:
            typer.echo(f"{count:,} {what}")
    print_harvest(found)
    typer.echo(f"{counted(written, 'scenario')} in {output}")
    return found


def exit_code_of(found: Harvest, more: str = "latentext batch create --add asks for more pairs") -> int:
    """0 if there are as many scenarios as wanted."""
    if found.complete:
        return EXIT_DONE
    missing = found.target - len(found.scenarios)
    typer.echo(f"{counted(missing, 'scenario')} fewer than wanted: {more}")
    return EXIT_FAILED


def _own(folder: Path, task: str) -> Path:
    return folder / task if (folder / task).is_dir() else folder
