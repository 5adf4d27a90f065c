"""Models by short names: those of the package, and a user's own, from YAML.

A name stands for a Hugging Face id or a folder, with what has to be known before anything is downloaded: the size, and
the form of chat that the model was tuned with. The package's entries lie in ``registry.yaml`` beside this file; a
user's are the `models:` of ``latentext.yaml`` in the working directory, or of the file that ``LATENTEXT_REGISTRY``
names, and win over the package's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from latentext.errors import SpecError
from latentext.spec import Frozen
from latentext.spec.yaml_text import YamlError, parse_yaml

VARIABLE = "LATENTEXT_REGISTRY"
"""The environment variable that names a registry of the user's, instead of `USER_FILE`."""

USER_FILE = "latentext.yaml"
_PACKAGED = Path(__file__).with_name("registry.yaml")

Quantisation = Literal["gptq-4bit", "awq-4bit"]


class ModelEntry(Frozen):
    """What a short name stands for; the fields are explained in ``registry.yaml``."""

    hub: str | None = None
    path: str | None = None
    revision: str | None = None
    parameters: int | None = Field(default=None, ge=1)
    gated: bool = False
    quantisation: Quantisation | None = None
    chat_format: str = "template"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.hub is None) == (self.path is None):
            raise ValueError("give either hub or path")
        return self

    @property
    def place(self) -> str:
        """The hub id or the folder, as `from_pretrained` takes it."""
        return self.hub or self.path or ""


def registered_models() -> Mapping[str, ModelEntry]:
    """All entries by name, the package's first.

    Raises:
        SpecError: the user's file is not a registry.

    Example:
        >>> registered_models()["beluga7b"].hub
        'stabilityai/StableBeluga-7B'
    """
    own = user_registry()
    entries = own.get("models", {})
    return {**_packaged(), **{name: _entry(name, fields) for name, fields in _named(entries, "models").items()}}


def user_registry() -> Mapping[str, Any]:
    """The content of the user's registry file: `models` and `corpora`; empty where there is no such file.

    Raises:
        SpecError: it cannot be read, or has other fields.
    """
    path = _user_file()
    return {} if path is None else _read(path, path.stat().st_mtime_ns)


def user_folder() -> Path:
    """The folder that paths in the user's registry are relative to."""
    path = _user_file()
    return Path() if path is None else path.parent


def _user_file() -> Path | None:
    named = os.environ.get(VARIABLE)
    path = Path(named or USER_FILE).expanduser()
    if path.is_file():
        return path
    if named:
        raise SpecError("no such file", where=f"{VARIABLE}={named}", remedy="name a registry in YAML, or unset it")
    return None


@lru_cache(maxsize=4)
def _read(path: Path, modified: int) -> Mapping[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (YamlError, UnicodeDecodeError, OSError) as error:
        raise SpecError(str(error), where=str(path), remedy="correct the YAML") from None
    if not isinstance(content, dict) or set(content) - {"models", "corpora"}:
        raise SpecError("not a registry", where=str(path), remedy="its fields are models: and corpora:")
    return content


def _named(entries: Any, part: str) -> Mapping[str, Any]:
    if not isinstance(entries, dict):
        raise SpecError("not a list of entries by name", where=part, remedy="as in `my-model: {hub: owner/name}`")
    return {str(name): fields for name, fields in entries.items()}


@lru_cache(maxsize=1)
def _packaged() -> Mapping[str, ModelEntry]:
    content = parse_yaml(_PACKAGED.read_text(encoding="utf-8"))
    return {name: ModelEntry.model_validate(fields) for name, fields in content.items()}


def _entry(name: str, fields: Any) -> ModelEntry:
    try:
        entry = ModelEntry.model_validate({"hub": fields} if isinstance(fields, str) else fields)
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(str(part) for part in found["loc"])
        what = f"{field}: {found['msg']}" if field else found["msg"]
        raise SpecError(
            what, where=f"models.{name}", remedy=f"fields are {', '.join(ModelEntry.model_fields)}"
        ) from None
    if entry.path is None:
        return entry
    return entry.model_copy(update={"path": str(user_folder() / Path(entry.path).expanduser())})
