"""``latentext capture``: add hidden states to texts that exist, by replaying their token ids."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from latentext.cli.added import print_added
from latentext.cli.interruption import continued_by
from latentext.cli.options import TrustRemoteCode, sites_option
from latentext.spec import Positions

Kept = Literal["model", "float32", "float16", "bfloat16"]


def capture(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    sites: Annotated[
        list[str],
        sites_option("or all"),
    ],
    positions: Annotated[Positions, typer.Option(help="The tokens whose states are kept.")] = "generated",
    pool: Annotated[
        list[str] | None, typer.Option(metavar="POOL,...", help="One row a text instead: last, mean, max, first.")
    ] = None,
    dtype: Annotated[Kept, typer.Option(help="The type in which the numbers are kept.")] = "model",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Read again where a text's states failed.")
    ] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> int:
    """Add hidden states to the texts of a dataset.

    The texts are read again by the model from their token ids; nothing is generated.
    """
    from latentext.dataset.reader import open_dataset
    from latentext.run.progress import progress_for
    from latentext.run.runner import capture_states
    from latentext.spec.files import load_spec

    states: dict[str, object] = {
        "sites": [as_site(site) for site in separated(sites)],
        "positions": positions,
        "dtype": dtype,
    }
    if pool:
        states["pool"] = separated(pool)
    # As a part of the dataset's own spec, so that mistakes are named as they are in a file.
    wanted = load_spec(open_dataset(directory).spec.model_dump(mode="json") | {"states": states}).states
    assert wanted is not None
    with continued_by(sys.argv[1:]):
        summary = capture_states(
            directory,
            wanted,
            retry_failed=retry_failed,
            trust_remote_code=trust_remote_code,
            progress=progress_for(sys.stderr),
        )
    print_added(summary, nothing="nothing to add: these states are there")
    return summary.exit_code


def separated(values: Sequence[str]) -> list[str]:
    """``--sites a,b --sites c`` and ``--sites a --sites b,c`` are the same three.

    Example:
        >>> separated(["final_norm, -2", "embed"])
        ['final_norm', '-2', 'embed']
    """
    return [part for value in values for part in (piece.strip() for piece in value.split(",")) if part]


def as_site(word: str) -> str | int:
    """A site as a spec takes it: whole numbers are indices into Hugging Face's hidden_states."""
    return int(word) if word.removeprefix("-").isdecimal() else word
