"""``latentext pairs plan``: what proposals will cost, in requests, tokens and money."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentext.cli.options import finite
from latentext.cli.pairs_options import ConfigDir, MaxTokens, PairsEach, PriceTable, Scenarios, TaskName
from latentext.errors import EXIT_DONE


def plan(
    task: TaskName = "refusal",
    num_scenarios: Scenarios = 1500,
    expected_yield: Annotated[
        float | None,
        typer.Option(
            "--yield",
            callback=finite,
            min=0.001,
            max=1,
            metavar="SHARE",
            help="Valid new pairs of those asked for. Default: a range.",
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", metavar="ID", help="The model that would propose.")] = "gpt-4o",
    pairs_per_request: PairsEach = None,
    max_tokens: MaxTokens = 2048,
    prices: PriceTable = None,
    config_dir: ConfigDir = None,
) -> int:
    """Print requests, tokens and money of a run, in real time and in batches; nothing is sent."""
    from latentext.cli.pairs_summary import print_projections
    from latentext.engines.server.prices import Prices, read_prices, shipped_prices
    from latentext.spec import Decoding
    from latentext.studies.pairs import load_task
    from latentext.studies.pairs.projection import YIELDS

    table = shipped_prices()
    if prices is not None:
        own = read_prices(Path(prices))
        table = Prices({**table.models, **own.models}, own.date)
    print_projections(
        load_task(task, config_dir=config_dir),
        num_scenarios,
        YIELDS if expected_yield is None else [expected_yield],
        model=model,
        decoding=Decoding(max_new_tokens=max_tokens),
        pairs_each=pairs_per_request,
        prices=table,
    )
    return EXIT_DONE
