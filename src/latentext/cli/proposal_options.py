"""Options that proposing pairs in real time and in batches share: what is asked for, of which server, at which cost."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from latentext.cli.numbers import finite

ResponseForm = Literal["json_schema", "json_object", "none"]

TaskName = Annotated[str, typer.Option("--task", metavar="TASK", help="The name or file of a task.")]
Scenarios = Annotated[int, typer.Option(min=1, metavar="N", help="Scenarios wanted, four lines each.")]
Seed = Annotated[int, typer.Option(help="Decides topics, words and draws.")]
Form = Annotated[
    ResponseForm,
    typer.Option("--response-format", help="How the server is asked to hold replies to JSON; some know no schemas."),
]
MinYield = Annotated[
    float,
    typer.Option(
        min=0, max=1, callback=finite, help="Valid new pairs of those asked for, under which nothing more is asked."
    ),
]
BaseUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Any server that speaks OpenAI's protocol, http://host:port/v1.")
]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0, callback=finite, metavar="USD", help="A hard cap on the money spent, earlier runs included."),
]
MaxTokensTotal = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="A hard cap on tokens, of prompts and replies, earlier runs included."),
]
PairsEach = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Pairs asked for in a request. Default: the task's batch_size.")
]
MaxTokens = Annotated[int, typer.Option(min=1, metavar="N", help="Tokens of a reply at most.")]
PriceTable = Annotated[
    str | None, typer.Option(metavar="FILE", help="A price table of your own (YAML); see docs/pairs.md.")
]
