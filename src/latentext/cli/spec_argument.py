"""From the arguments of `run` to a spec: a file or a recipe, changed by ``--model``, ``--limit`` and ``--set``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from latentext.errors import SpecError
from latentext.spec import Spec
from latentext.spec.files import load_spec, resolve_inputs, spec_folder
from latentext.studies.catalogue import recipe_names, recipe_path


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
    if recipe is None:
        raise SpecError(f"no such file or recipe: {argument}", remedy=f"recipes are {', '.join(recipe_names())}")
    return recipe
