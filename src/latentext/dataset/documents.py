"""The documents that stand beside the data in a dataset directory: the spec, and what is known about the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.errors import DatasetError, SpecError
from latentext.spec import Spec
from latentext.spec.files import MAX_SPEC_BYTES, parse_spec, resolve_inputs
from latentext.storage import filesystem


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty when there is no such file.

    Raises:
        DatasetError: it cannot be read, or is no JSON object.
    """
    try:
        value = json.loads(filesystem.read_bytes(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise unreadable(path, error, "run the same command again") from error
    except (ValueError, RecursionError) as error:
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
    try:
        data = filesystem.read_bytes(path, MAX_SPEC_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_dataset(root) from error
    except OSError as error:
        raise unreadable(path, error, "restore it from a copy, or run its spec again") from error
    try:
        return resolve_inputs(parse_spec(data, str(path)), root)
    except SpecError as error:
        raise DatasetError(error.what, where=str(path), remedy=error.remedy) from error


def _no_dataset(root: Path) -> DatasetError:
    """What a folder without a spec is: nothing, or arrays that `save_dataset` or an export wrote."""
    arrays = sorted(root.glob("*hidden_states*.npy")) if root.is_dir() else []
    if arrays:
        return DatasetError(
            "holds NumPy arrays, not a dataset",
            where=str(root),
            remedy=f"read them with numpy.load({str(arrays[0])!r}, mmap_mode='r')",
        )
    return DatasetError("not a dataset directory", where=str(root), remedy=f"it has no {layout.SPEC}")


def unreadable(path: Path, error: OSError, remedy: str) -> DatasetError:
    """The error for a file of a dataset that is there and cannot be read, or is no regular file."""
    return DatasetError(f"cannot be read: {error.strerror or error}", where=str(path), remedy=remedy)
