"""The shipped specs by name: ``length/same_prompt`` is the file `recipes/length/same_prompt.yaml`.

The files live once, in the folder `recipes/` at the top of the repository, where people look for something to copy. An
editable install reads them there; a wheel carries the same folder inside the package (see the wheel in
pyproject.toml).
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def recipe_folder() -> Path:
    """The folder of recipes of this installation."""
    packaged = _HERE / "recipes"
    return packaged if packaged.is_dir() else _HERE.parents[2] / "recipes"


def recipe_names() -> list[str]:
    """All recipes, as ``folder/name``, sorted.

    Example:
        >>> "length/same_prompt" in recipe_names()
        True
    """
    folder = recipe_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def recipe_path(name: str) -> Path | None:
    """The file of a recipe, or None if there is none of that name."""
    return recipe_folder() / f"{name}.yaml" if name in recipe_names() else None
