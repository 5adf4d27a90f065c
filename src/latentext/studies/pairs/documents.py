"""The YAML files of a task and its word bank: found by name, read without surprises, refused in one line.

A name means a file in the user's folder first (so a shipped task can be replaced) and the package's own file
otherwise; anything with a path or a suffix means that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from latentext.errors import SpecError

PACKAGE = Path(__file__).resolve().parent
"""Shipped files lie in its folders ``tasks`` and ``banks``."""

_Document = TypeVar("_Document", bound=BaseModel)


def find(kind: str, name: str, config_dir: Path | None = None) -> Path:
    """The file of a task or bank.

    Args:
        kind: ``tasks`` or ``banks``.
        name: a name such as ``refusal``, or a path to a file.
        config_dir: the user's folder, looked at first: ``DIR/tasks/NAME.yaml``, then ``DIR/NAME.yaml`` for tasks.

    Raises:
        SpecError: there is no such file; the known names are given.
    """
    if name.endswith((".yaml", ".yml")) or len(Path(name).parts) > 1:
        return Path(name).expanduser()
    own = config_dir.expanduser() if config_dir else None
    places = [] if own is None else [own / kind, own] if kind == "tasks" else [own / kind]
    for folder in (*places, PACKAGE / kind):
        if (path := folder / f"{name}.yaml").is_file():
            return path
    known = sorted({path.stem for folder in (*places, PACKAGE / kind) for path in folder.glob("*.yaml")})
    raise SpecError(
        f"no file {name}.yaml among the {kind}",
        where=str(config_dir) if config_dir else None,
        remedy=f"known: {', '.join(known)}; or give --config-dir, or the file's path",
    )


def read(path: Path, shape: type[_Document]) -> _Document:
    """The file as a checked value.

    Raises:
        SpecError: unreadable, not YAML, or keys are missing, unknown or of the wrong kind; every one is named.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read ({error})", where=str(path), remedy="check the path") from error
    except yaml.YAMLError as error:
        raise SpecError(f"is not YAML ({error})", where=str(path), remedy="mend the line named") from error
    if not isinstance(document, dict):
        raise SpecError("holds no keys", where=str(path), remedy=f"it needs: {', '.join(_required(shape))}")
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(_problem(found["loc"], found["msg"]) for found in error.errors())
        raise SpecError(problems, where=str(path), remedy="see docs/pairs.md for the keys") from error


def _required(shape: type[BaseModel]) -> Sequence[str]:
    return [name for name, field in shape.model_fields.items() if field.is_required()]


def _problem(place: tuple[str | int, ...], message: str) -> str:
    key = ".".join(str(part) for part in place)
    wording = {"Field required": "is missing", "Extra inputs are not permitted": "is not a key of this file"}
    message = wording.get(message, message.removeprefix("Value error, "))
    return f"{key} {message}" if key else message
