"""``latentext verify``: check every file of a dataset against its receipt, and a sample of states against the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentext.cli.trust_option import TrustRemoteCode
from latentext.errors import EXIT_DONE, EXIT_FAILED, printable


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    sample: Annotated[
        int, typer.Option(min=0, metavar="N", help="Texts whose states are computed again; 0 checks files only.")
    ] = 32,
    trust_remote_code: TrustRemoteCode = False,
) -> int:
    """Check the files and the states of a dataset.

    Every file is compared with its checksum, counts are added up, rows are held against token ids, and the states of
    some texts are computed again from their ids. Each fault is one line, and the exit code is 1 if there is any.
    """
    from latentext.run.verification import verify as find_faults
    from latentext.storage.lease import holders

    findings = find_faults(directory, sample=sample, trust_remote_code=trust_remote_code)
    for finding in findings:
        typer.echo(printable(str(finding)))
    if findings:
        return EXIT_FAILED
    at_work = next(iter(holders(directory).values()), None)
    if at_work is not None:
        typer.echo(printable(f"{directory}: no faults found in what is finished; a run is at work ({at_work})"))
        return EXIT_DONE
    typer.echo(f"{directory}: no faults found")
    return EXIT_DONE
