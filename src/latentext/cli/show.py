"""``latentext show``: texts in the terminal, token by token, with the number of tokens still to come under each."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentext.cli.options import TrustRemoteCode
from latentext.cli.visible import token_decoder
from latentext.cli.wording import counted
from latentext.finish_reasons import GIVEN, is_whole

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset

_PIPE_COLUMNS = 120
_COLUMNS = ("index", "sample", "variables", "messages", "text", "token_ids", "finish_reason")


def show(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, metavar="N", help="How many texts.")] = 5,
    first: Annotated[int, typer.Option("--from", min=0, metavar="INDEX", help="The first request to show.")] = 0,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Print texts token by token.

    Under each token stands the number of tokens still to come, or "?" where the text was cut at the limit. Of texts
    that were given, such as pairs, the model wrote nothing: they are printed as they are. Bars stand
    between tokens and dots for their spaces; characters that would act on the terminal, or could not be seen, are
    written as escapes.
    """
    print_texts(directory, count, first, trust_remote_code=trust_remote_code)


def print_texts(directory: Path, count: int, first: int = 0, *, trust_remote_code: bool = False) -> None:
    """Print `count` texts of a dataset, from request `first` on."""
    from latentext.dataset.reader import open_dataset

    dataset = open_dataset(directory, trust_remote_code=trust_remote_code)
    rows = list(islice(_rows(dataset, first), min(count, sys.maxsize)))
    if not rows:
        typer.echo("No texts yet." if first == 0 else f"No texts from request {first} on.")
        return
    decode = token_decoder(dataset)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_COLUMNS
    for row in rows:
        for line in _lines(row, [decode(token_id) for token_id in row["token_ids"]], width):
            typer.echo(line)


def _rows(dataset: Dataset, first: int) -> Iterator[dict[str, Any]]:
    """Records from request `first` on; shards are read one after the other, and no more than are needed."""
    for table in dataset.iter_records(_COLUMNS):
        if table.num_rows and table["index"][-1].as_py() >= first:
            yield from (row for row in table.to_pylist() if row["index"] >= first)


def _lines(row: dict[str, Any], tokens: Sequence[str], width: int) -> list[str]:
    from latentext.cli.visible import interlinear, visible

    whole = is_whole(row["finish_reason"])
    remaining = [str(count) if whole else "?" for count in reversed(range(len(tokens)))]
    variables = ", ".join(f"{name}={value}" for name, value in json.loads(row["variables"]).items())
    sample = f" sample {row['sample']}" if row["sample"] else ""
    length = f"{counted(len(tokens), 'token')}, " if tokens else ""  # A server gives none.
    given = row["finish_reason"] == GIVEN
    ending = "given: the model read it and wrote nothing" if given else f"{length}{visible(row['finish_reason'])}"
    head = f"#{row['index']}{sample}  {ending}"
    return [
        f"{head}  {visible(variables)}".rstrip(),
        *(f"{visible(message['role'])}: {visible(message['content'])}" for message in json.loads(row["messages"])),
        *(interlinear(tokens, remaining, width) if tokens else [] if given else [visible(row["text"])]),
        "",
    ]
