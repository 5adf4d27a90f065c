"""The documents that stand beside the data in a dataset directory: the spec, and what is known about the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.errors import DatasetError, SpecError
from latentext.spec import Spec
from latentext.spec_file import load_spec, resolve_inputs


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty when there is no such file.

    Raises:
        DatasetError: it cannot be read, or is no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError("cannot be read as JSON", where=str(path), remedy="run the same command again") from error
    if not isinstance(value, dict):
        raise DatasetError("not a JSON object", where=str(path), remedy="run the same command again")
    return value


def read_spec(root: Path) -> Spec:
    """The resolved spec of a dataset, its input paths absolute.

    Raises:
        DatasetError: there is none, or it is not a spec that this version knows.
    """
    path = root / layout.SPEC
    if not path.is_file():
        raise DatasetError("not a dataset directory", where=str(root), remedy=f"it has no {layout.SPEC}")
    try:
        return resolve_inputs(load_spec(path), root)
    except SpecError as error:
        raise DatasetError(error.what, where=str(path), remedy=error.remedy) from error
