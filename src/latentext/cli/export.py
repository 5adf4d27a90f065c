"""``latentext export``: a dataset as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from latentext.cli.capture import as_site, separated
from latentext.errors import SpecError


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="What is written: a folder for npy, else a file.")],
    to: Annotated[
        Literal["npy", "jsonl", "parquet"], typer.Option(help="npy: states and targets; jsonl, parquet: the records.")
    ],
    sites: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE,...", help="npy: these sites side by side in this order; all by default."),
    ] = None,
    keep_truncated: Annotated[
        bool, typer.Option("--keep-truncated", help="npy: keep texts that were cut at the limit, and mark them.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="jsonl, parquet: only this split, such as train or val.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
) -> None:
    """Write a dataset as NumPy arrays, JSON lines or one Parquet file.

    npy makes {train,val}_hidden_states.npy and what belongs to it, in the spec's own split.
    """
    if to == "npy":
        if split is not None:
            raise SpecError("npy writes every split", where="--split", remedy="leave it out")
        write_npy(directory, output, separated(sites or ()), keep_truncated=keep_truncated, overwrite=overwrite)


def write_npy(
    directory: Path,
    output: Path,
    sites: list[str] | None = None,
    *,
    keep_truncated: bool = False,
    overwrite: bool = False,
) -> None:
    """Export states and targets as NumPy files, and say what was written."""
    from latentext.dataset.export_npy import export_npy
    from latentext.dataset.reader import open as open_dataset
    from latentext.prompts.token_text import token_text
    from latentext.prompts.tokenizer import load_tokenizer

    dataset = open_dataset(directory)
    model = dataset.spec.model
    tokenizer = load_tokenizer(model.name, model.revision, model.trust_remote_code)
    export_npy(
        dataset,
        output,
        decode_token=lambda token_id: token_text(tokenizer, token_id),
        sites=[as_site(site) for site in sites or ()] or None,
        truncated="keep" if keep_truncated else "drop",
        overwrite=overwrite,
    )
