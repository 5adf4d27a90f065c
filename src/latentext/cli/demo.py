"""``latentext demo``: a first dataset in a few minutes, without a network, a GPU or an account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentext.cli.wording import columns
from latentext.errors import EXIT_DONE

RECIPE = "length/same_prompt"


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the dataset is made.")] = Path(
        "data/same_prompt"
    ),
) -> int:
    """Make a first dataset with the built-in model.

    450 prompts say "print this word N times". For every token that the model wrote, the dataset holds the hidden state
    that predicted it and the number of tokens that were still to come. The states are exported as NumPy files, and the
    first texts are shown.
    """
    from latentext.cli.export import write_npy
    from latentext.cli.options import spec_from
    from latentext.cli.run import make
    from latentext.cli.show import print_texts
    from latentext.dataset.outputs import checked_folder
    from latentext.export.npy import NPY

    named = directory.resolve() if directory.name in ("", "..") else directory
    arrays = named.with_name(f"{named.name}_npy")
    checked_folder(arrays, NPY, overwrite=True)  # Before minutes are spent.
    code = make(spec_from(RECIPE), directory)
    if code != EXIT_DONE:
        return code
    write_npy(directory, arrays, overwrite=True)
    typer.echo()
    print_texts(directory, 3)
    for title, hints in (("To look at it", _look(directory, arrays)), ("To go on", _go_on(directory))):
        typer.echo(f"{title}:")
        for line in columns(hints, gap="   "):
            typer.echo(f"  {line}")
    return code


def _look(directory: Path, arrays: Path) -> list[tuple[str, str]]:
    return [
        (f"latentext show {directory} -n 10", "texts, token by token"),
        (f"latentext status {directory}", "what it holds"),
        (f"latentext verify {directory}", "whether files and states are right"),
        (f'numpy.load("{arrays}/train_hidden_states.npy", mmap_mode="r")', "the states, in Python"),
    ]


def _go_on(directory: Path) -> list[tuple[str, str]]:
    from latentext.studies.catalogue import recipe_path

    return [
        (f"latentext capture {directory} --sites all", "every layer of the same texts"),
        (f"latentext run {RECIPE} --model ID|DIR --output DIR", "the same with another model"),
        (f"{recipe_path(RECIPE)}", "the spec of this run, to copy and change"),
    ]
