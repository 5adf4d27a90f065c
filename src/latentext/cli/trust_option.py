"""The option by which a person lets a dataset's model run Python code of its own; the same in every command."""

from __future__ import annotations

from typing import Annotated

import typer

TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run the model's own Python code where the dataset's spec asks for it."),
]
