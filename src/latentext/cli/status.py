"""``latentext status``: what a dataset holds and what is still to come, read from its receipts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentext.errors import printable


def status(directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")]) -> None:
    """Say what a dataset holds and what is still to come."""
    from latentext.run.status import status as read_status

    for line in str(read_status(directory)).splitlines():
        typer.echo(printable(line))
