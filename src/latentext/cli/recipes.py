"""``latentext recipes``: the specs that come with the package, to run by name or to copy."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="Recipe to print, such as length/same_prompt.")] = None,
) -> None:
    """List the recipes with what each is for, or print one of them.

    Run one with ``latentext run NAME``; copy one with ``latentext recipes NAME > mine.yaml``.
    """
    from latentext.errors import SpecError
    from latentext.studies.catalogue import recipe_names, recipe_path

    known = recipe_names()
    if name is None:
        width = max(map(len, known))
        for each in known:
            typer.echo(f"{each.ljust(width)}  {_first_sentence(str(recipe_path(each)))}")
        return
    path = recipe_path(name)
    if path is None:
        raise SpecError(f"no recipe is called {name!r}", where="NAME", remedy=f"recipes are {', '.join(known)}")
    typer.echo(path.read_text(encoding="utf-8"), nl=False)


def _first_sentence(path: str) -> str:
    """The first sentence of the comment that a recipe begins with."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    text = " ".join(line.lstrip("# ") for line in comment if "$schema" not in line)
    return re.split(r"(?<=[.?]) ", text, maxsplit=1)[0]
