"""``latentext merge``: directories that were made apart become the one that a single run would have made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from latentext.cli.interruption import continued_by
from latentext.cli.wording import counted


def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Directories that runs of one spec made apart.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The merged dataset: new, or one of an earlier merge.")
    ],
) -> None:
    """Put together what the jobs of an array made in directories of their own (`run --shards K/N`)."""
    from latentext.run.merging import merge_parts

    with continued_by(sys.argv[1:]):
        counts = merge_parts(parts, output)
    found = [f"{counts[name]:,} {name}" for name in ("accepted", "rejected", "failed") if counts[name]]
    typer.echo(f"{counted(counts['planned'], 'text')}: {', '.join(found)}")
    typer.echo(f"dataset: {output}")
    if counts["pending"]:
        typer.echo(f"{counts['pending']:,} texts are in no part; to make them: latentext run SPEC --output {output}")
