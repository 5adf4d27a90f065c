"""What options of several commands have in common: their words, and that numbers are finite."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from latentext.errors import SpecError
from latentext.spec import Spec
from latentext.spec.files import load_spec, resolve_inputs, spec_folder
from latentext.studies.catalogue import recipe_names, recipe_path

Number = TypeVar("Number", float, float | None, list[float], list[float] | None)


def finite(value: Number) -> Number:
    """The callback of every option that is a number, or several.

    Raises:
        typer.BadParameter: one is infinite or not a number.
    """
    numbers = value if isinstance(value, list) else [] if value is None else [value]
    if wrong := [number for number in numbers if not math.isfinite(number)]:
        raise typer.BadParameter(f"{wrong[0]} is not a finite number")
    return value


def sites_option(default: str, *aliases: str) -> Any:
    """The option for sites: `default` says in words what is taken without it."""
    layers = "Layers by number (8; -2 is the last but one) or name (resid_post.7, final_norm, embed)"
    return typer.Option("--sites", *aliases, metavar="SITE,...", help=f"{layers}; {default}.")


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]

TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run the model's own Python code where the dataset's spec asks for it."),
]


def spec_from(argument: str, changes: Sequence[str] = (), model: str | None = None, limit: int | None = None) -> Spec:
    """The spec that `argument` names, changed; its input paths are absolute.

    ``--model X`` and ``--limit N`` are short for ``--set model.name=X`` and ``--set prompts.limit=N``. Another model
    also drops the revision, which belonged to the one before.

    Raises:
        SpecError: there is no such file or recipe, or what it says is not a spec.
    """
    path = _path(argument)
    settings = list(changes)
    if model is not None:
        settings += ["model.revision=null", f"model.name={json.dumps(model)}"]
    if limit is not None:
        settings.append(f"prompts.limit={limit}")
    return resolve_inputs(load_spec(path, settings), spec_folder(path))


def _path(argument: str) -> Path:
    """A file wins over a recipe of the same name: what lies in the user's folder is what the user sees."""
    path = Path(argument)
    if path.is_file():
        return path
    recipe = recipe_path(argument.removesuffix(".yaml").removeprefix("recipes/"))
    if recipe is None and path.is_dir():
        raise SpecError("is a folder", where=argument, remedy="name a spec, which is a YAML file, or a recipe")
    if recipe is None:
        raise SpecError(f"no such file or recipe: {argument}", remedy=f"recipes are {', '.join(recipe_names())}")
    return recipe
