"""What `pairs generate`, `pairs plan` and `batch` print of proposals: counts, and what a run will cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from latentext.cli.wording import columns

if TYPE_CHECKING:
    from latentext.engines.server.prices import Prices
    from latentext.spec import Decoding
    from latentext.studies.pairs import PairTask, ReasonTally
    from latentext.studies.pairs.proposing import Harvest


def print_tally(tally: ReasonTally) -> None:
    """How many pairs hold under each tokenizer, and why the others do not."""
    from latentext.studies.pairs.tally import ALL

    reasons = tally.reasons_found()
    rows = [["tokenizer", "valid", "of", "yield", *reasons]]
    for name in (*tally.names, ALL):
        valid = tally.valid(name)
        counts = [str(tally.failed(reason, name)) for reason in reasons]
        share = f"{valid / tally.pairs:.1%}" if tally.pairs else "0.0%"
        rows.append([name, str(valid), str(tally.pairs), share, *counts])
    for line in columns(rows):
        typer.echo(line)


def print_harvest(harvest: Harvest) -> None:
    """Replies by kind, pairs proposed, and what the validator found about those that were new."""
    from latentext.studies.pairs.proposing import ReplyKind

    replies = sum(harvest.replies.values())
    kinds = ", ".join(f"{harvest.replies[kind]:,} {_named(kind)}" for kind in ReplyKind if harvest.replies[kind])
    typer.echo(f"{replies:,} replies: {kinds or 'none'}")
    parts = [f"{harvest.tally.pairs:,} new"]
    parts += [f"{harvest.exact_duplicates:,} proposed before"] if harvest.exact_duplicates else []
    parts += [f"{harvest.duplicates:,} the same but for case, marks or order"] if harvest.duplicates else []
    parts += [f"{harvest.broken:,} entries that are no pair"] if harvest.broken else []
    typer.echo(f"{harvest.proposed:,} pairs: {', '.join(parts)}")
    print_tally(harvest.tally)


def _named(kind: str) -> str:
    return "with pairs" if kind == "pairs" else kind


def print_projections(
    task: PairTask,
    target: int,
    yields: Sequence[float],
    *,
    model: str,
    decoding: Decoding,
    pairs_each: int | None = None,
    prices: Prices,
    seed: int = 0,
) -> None:
    """What so many scenarios will take, a line a yield, in real time and in batches."""
    from latentext.engines.server.spend import money
    from latentext.studies.pairs.projection import project

    price = prices.of(model)
    rows = [["yield", "requests", "prompt tokens", "reply tokens"]]
    rows[0] += ["real time", "batch", "real time at most"] if price is not None else []
    for expected in yields:
        found = project(task, target, expected, decoding, pairs_each=pairs_each, price=price, seed=seed)
        row = [f"{expected:.0%}", f"{found.requests:,}", f"{found.prompt_tokens:,}", f"{found.reply_tokens:,}"]
        row += [money(cost) for cost in (found.cost, found.batch_cost, found.most) if cost is not None]
        rows.append(row)
    each = pairs_each or task.batch_size
    typer.echo(f"{target:,} scenarios of the task {task.task_name} with {model}, {each} pairs a request:")
    for line in columns(rows):
        typer.echo(line)
    if price is None:
        typer.echo(f"No price of {model} is known; --prices FILE names a table of your own.")
    else:
        day = f" of {prices.date:%Y-%m-%d}" if prices.date else ""
        typer.echo(
            f"Prices{day}. Yield: valid new pairs of those asked for. Tokens are estimated at four characters each; at "
            "most: every byte a token, every reply as long as it may be."
        )
