"""Options that several of the ``latentext pairs`` commands share, and what they have in common before they work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

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
Force = Annotated[bool, typer.Option("--force", help="Replace earlier files of pairs.")]


def set_log_level(level: LogLevel) -> None:
    """The least serious messages of this package that are printed."""
    logging.getLogger("latentext").setLevel(level)


def load(sources: Sequence[str] | None, cache_dir: Path | None) -> tuple[PairTokenizer, ...]:
    """The tokenizers asked for, or the three that are the default."""
    from latentext.studies.pairs import DEFAULT_TOKENIZERS, load_tokenizers

    return load_tokenizers(sources or DEFAULT_TOKENIZERS, cache_dir=cache_dir)
