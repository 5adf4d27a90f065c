"""What is asked of whole directories: ``latentext verify``, ``status`` and ``merge``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from latentext.cli.interruption import continued_by
from latentext.cli.options import AsJson, TrustRemoteCode
from latentext.cli.wording import counted
from latentext.errors import EXIT_DONE, EXIT_FAILED, printable


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    sample: Annotated[
        int, typer.Option(min=0, metavar="N", help="Texts whose states are computed again; 0 checks files only.")
    ] = 32,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> int:
    """Check the files and the states of a dataset.

    Every file is compared with its checksum, counts are added up, rows are held against token ids, and the states of
    some texts are computed again from their ids. Each fault is one line, and the exit code is 1 if there is any.
    """
    from latentext.run.verification import verify as find_faults
    from latentext.storage.lease import holders

    findings = find_faults(directory, sample=sample, trust_remote_code=trust_remote_code)
    at_work = next(iter(holders(directory).values()), None)
    if as_json:
        faults = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"directory": str(directory), "faults": faults, "at_work": at_work is not None}))
        return EXIT_FAILED if findings else EXIT_DONE
    for finding in findings:
        typer.echo(printable(str(finding)))
    if findings:
        return EXIT_FAILED
    if at_work is not None:
        typer.echo(printable(f"{directory}: no faults found in what is finished; a run is at work ({at_work})"))
        return EXIT_DONE
    typer.echo(f"{directory}: no faults found")
    return EXIT_DONE


def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    as_json: AsJson = False,
) -> None:
    """Say what a dataset holds and what is still to come."""
    from latentext.run.status import status as read_status

    if as_json:
        typer.echo(json.dumps(read_status(directory).as_json()))
        return
    for line in str(read_status(directory)).splitlines():
        typer.echo(printable(line))


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
