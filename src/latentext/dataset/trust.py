"""Whose code runs: what a person names, on the command line or in a spec of their own, and nothing in a dataset.

A dataset may come from anybody, and its ``spec.yaml`` can name Python: the functions of rewards, and a model whose
files bring code of their own. Readers run none of it. Whoever computes something with such a model on the word of a
dataset alone allows it (``--trust-remote-code``), and even then a file inside the dataset is never imported.
"""

from __future__ import annotations

import os
from pathlib import Path

from latentext.errors import SpecError
from latentext.spec import Spec


def without_code(spec: Spec) -> Spec:
    """The spec as it may be acted on where only a dataset names it: the model's own code stays off."""
    if not spec.model.trust_remote_code:
        return spec
    return spec.model_copy(update={"model": spec.model.model_copy(update={"trust_remote_code": False})})


def refuse_model_inside(root: Path, spec: Spec) -> None:
    """Refuse to run the code of a model that lies in the dataset.

    Raises:
        SpecError: the spec trusts a model in a folder inside `root`.
    """
    for name in (spec.model.name, spec.model.local):
        if spec.model.trust_remote_code and name is not None and Path(name).expanduser().is_dir():
            refuse_inside(root, Path(name).expanduser(), f"model {name}")


def refuse_inside(root: Path, path: Path, where: str) -> None:
    """Refuse to import something that lies in the dataset.

    Raises:
        SpecError: `path`, or what it is a link to, is inside `root`.
    """
    roots = {root.resolve(), Path(os.path.normpath(root.absolute()))}
    # Not only what a link leads to: one in the dataset chooses what is run.
    places = {path.resolve(), Path(os.path.normpath(path.absolute()))}
    if any(place.is_relative_to(folder) for place in places for folder in roots):
        raise SpecError(
            f"lies inside the dataset {root}, of which nothing is run", where=where, remedy="keep it elsewhere"
        )
