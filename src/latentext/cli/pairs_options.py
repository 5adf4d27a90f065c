"""Options that several of the ``latentext pairs`` commands share, and what they have in common before they work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from latentext.cli.options import finite

if TYPE_CHECKING:
    from latentext.studies.pairs import PairTokenizer


LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Tokenizers = Annotated[
    list[str] | None,
    typer.Option(
        "--tokenizer",
        metavar="[NAME=]ID|DIR",
        help="A Hugging Face id, a folder or a tokenizer.json; give it once for each tokenizer. Default: Qwen2, "
        "Llama-3 and SOLAR, which need a network.",
    ),
]
CacheDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Where tokenizers are downloaded to.")]
ConfigDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Your folder of task files, searched before the shipped ones.")
]
LogLevelOption = Annotated[
    LogLevel, typer.Option(case_sensitive=False, help="DEBUG prints lengths and differing ids of every pair.")
]
Details = Annotated[
    bool, typer.Option("--details", help="Add topic, word, and the differing token's place to each line.")
]
Force = Annotated[bool, typer.Option("--overwrite", "--force", help="Replace earlier files of pairs.")]


def set_log_level(level: LogLevel) -> None:
    """The least serious messages of this package that are printed."""
    logging.getLogger("latentext").setLevel(level)


def load(sources: Sequence[str] | None, cache_dir: Path | None) -> tuple[PairTokenizer, ...]:
    """The tokenizers asked for, or the three that are the default."""
    from latentext.studies.pairs import DEFAULT_TOKENIZERS, load_tokenizers

    return load_tokenizers(sources or DEFAULT_TOKENIZERS, cache_dir=cache_dir)


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
