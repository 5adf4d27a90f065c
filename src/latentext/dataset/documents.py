"""The documents that stand beside the data in a dataset directory: the spec, and what is known about the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from latentext.errors import DatasetError
from latentext.spec import Spec


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty when there is no such file.

    Raises:
        DatasetError: it cannot be read, or is no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DatasetError("cannot be read as JSON", where=str(path), remedy="run the same command again") from error
    if not isinstance(value, dict):
        raise DatasetError("not a JSON object", where=str(path), remedy="run the same command again")
    return value


def read_spec(path: Path) -> Spec:
    """The resolved spec of a dataset.

    Raises:
        DatasetError: it cannot be read, is no YAML, or not a spec that this version knows.
    """
    try:
        return Spec.model_validate(yaml.safe_load(path.read_bytes()))
    except (OSError, yaml.YAMLError) as error:
        raise DatasetError("cannot be read as YAML", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DatasetError(f"{place}: {first['msg']}", where=str(path), remedy="made by another version?") from error
