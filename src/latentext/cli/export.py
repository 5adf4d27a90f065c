"""``latentext export``: a dataset as files that other programs read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from latentext.cli.capture import as_site, separated
from latentext.cli.options import TrustRemoteCode, sites_option
from latentext.cli.visible import token_decoder
from latentext.cli.wording import counted
from latentext.errors import SpecError
from latentext.spec import Keep, Pool
from latentext.states.layer_names import listed, site_label

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset

_ENDINGS = {"jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="What is written: a folder for npy, else a file.")],
    to: Annotated[
        Literal["npy", "jsonl", "parquet", "tidy", "ai_datasets"],
        typer.Option(help="npy: states and targets; jsonl, parquet: records; tidy, ai_datasets: completions."),
    ],
    sites: Annotated[
        list[str] | None,
        sites_option("of npy, side by side in this order; all by default"),
    ] = None,
    pool: Annotated[
        Pool | None,
        typer.Option(help="npy: which pooled states, where texts have several; none is a row for every token."),
    ] = None,
    keep_truncated: Annotated[
        bool, typer.Option("--keep-truncated", help="npy: keep texts that were cut at the limit, and mark them.")
    ] = False,
    keep: Annotated[
        Keep | None,
        typer.Option(help="Only texts that the dataset's check accepted, or found exact; npy: as the spec says."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="jsonl, parquet: only this split, such as train or val.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in OUT.")] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Write a dataset as NumPy arrays, JSON lines or one Parquet file; completions beside human texts also of a folder.

    npy writes {train,val}_hidden_states.npy and what belongs to them into the folder OUT; jsonl and parquet write
    one row a text, with its scores, into the file OUT. Of completions (latentext complete), tidy writes one Parquet
    file with the human texts and splits, and ai_datasets the original comparison's NDJSON files below the folder OUT.
    """
    if to in ("tidy", "ai_datasets"):
        for wrong, option in (
            (bool(sites), "--sites"),
            (pool is not None, "--pool"),
            (split is not None, "--split"),
            (keep is not None, "--keep"),
        ):
            _refuse(wrong, option, f"{to} writes all texts, and says of each what it is")
        _write_completions(directory, output, to, overwrite=overwrite)
        return
    if to == "npy":
        _refuse(split is not None, "--split", "npy writes every split")
        sites_asked = separated(sites or ())
        write_npy(
            directory,
            output,
            sites_asked,
            pool=pool,
            keep_truncated=keep_truncated,
            keep=keep,
            overwrite=overwrite,
            trust_remote_code=trust_remote_code,
        )
        return
    _refuse(bool(sites), "--sites", f"{to} holds records, no states")
    _refuse(pool is not None, "--pool", f"{to} holds records, no states")
    _refuse(output.suffix not in _ENDINGS[to], str(output), f"{to} goes into a file that ends in {_ENDINGS[to][0]}")
    rows = export_records(directory, output, split, keep or "all", overwrite=overwrite)
    typer.echo(f"{counted(rows, 'text')} in {output}")


def _write_completions(directory: Path, output: Path, to: Literal["tidy", "ai_datasets"], *, overwrite: bool) -> None:
    from latentext.dataset.completions import completion_datasets
    from latentext.export.completions import export_original_layout, export_tidy

    for dataset in completion_datasets(directory):
        _say_if_unfinished(dataset)
    if to == "tidy":
        _refuse(output.suffix != ".parquet", str(output), "tidy goes into a file that ends in .parquet")
        typer.echo(f"{counted(export_tidy(directory, output, overwrite=overwrite), 'text')} in {output}")
        return
    for path in export_original_layout(directory, output, overwrite=overwrite):
        typer.echo(path)


def export_records(
    directory: Path, output: Path, split: str | None, keep: Keep = "all", *, overwrite: bool = False
) -> int:
    """Export records and scores as one table; returns the number of rows."""
    from latentext.dataset.reader import open_dataset
    from latentext.export.tables import export_table

    dataset = open_dataset(directory)
    _say_if_unfinished(dataset)
    return export_table(dataset, output, split=split, keep=keep, overwrite=overwrite)


def write_npy(
    directory: Path,
    output: Path,
    sites: Sequence[str] = (),
    *,
    pool: Pool | None = None,
    keep_truncated: bool = False,
    keep: Keep | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> None:
    """Export states and targets as NumPy files, and say what was written."""
    from latentext.dataset.reader import open_dataset
    from latentext.export.npy import export_npy

    dataset = open_dataset(directory, trust_remote_code=trust_remote_code)
    _say_if_unfinished(dataset)
    metadata = export_npy(
        dataset,
        output,
        decode_token=token_decoder(dataset),
        sites=[as_site(site) for site in sites] or None,
        pool=pool,
        truncated="keep" if keep_truncated else "drop",
        keep=keep,
        overwrite=overwrite,
    )
    of = f", one per text (pool {metadata['pool']})," if "pool" in metadata else ""
    typer.echo(f"{counted(metadata['total_tokens'], 'row')}{of} of {metadata['total_hidden_dim']} numbers in {output}")
    called = zip(metadata["layers_extracted"], metadata["extracted_layer_indices"], strict=True)
    typer.echo(f"sites, side by side: {listed([site_label(site, layer) for site, layer in called])}")
    if dropped := metadata["truncated_texts"]["dropped"]:
        typer.echo(f"{counted(dropped, 'text')} cut at the limit left out; --keep-truncated keeps and marks them")
    if dropped := metadata["rejected_texts"]["dropped"]:
        typer.echo(f"{counted(dropped, 'text')} left out by the check; --keep all keeps them")


def _say_if_unfinished(dataset: Dataset) -> None:
    from latentext.run.asked import texts_made

    found = texts_made(dataset)
    if found.unfinished:
        what = f"unfinished: {found.made:,} of {found.planned:,} texts are there; run its spec again for the others"
        typer.echo(f"{dataset.directory}: {what}", err=True)


def _refuse(wrong: bool, where: str, what: str) -> None:
    if wrong:
        raise SpecError(what, where=where)
