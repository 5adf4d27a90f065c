"""What is wrong with a folder that a library could not read, found in its files and not in the library's words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentext.libraries.changed import installed

_POINTER = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER = 1024
"""Bytes; https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md."""

_JSON = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json")
_VOCABULARY = ("tokenizer.json", "vocab*", "*.model", "spiece*", "*.tiktoken")


@dataclass(frozen=True, slots=True)
class ModelFault:
    """What is wrong, and what to do about it."""

    what: str
    remedy: str


def fault_in(folder: Path, error: Exception) -> ModelFault | None:
    """The fault in a model's folder that explains an error; None if none is found.

    Args:
        error: what a library raised while it read the folder.
    """
    return next(filter(None, _faults(folder, error)), None)


def pointer_in(folder: Path, *patterns: str) -> ModelFault | None:
    """The first file among those that match that is a Git LFS pointer and not the file itself.

    Example:
        >>> pointer_in(Path("no such folder"), "*") is None
        True
    """
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            if is_pointer(path):
                what = f"{path.name} is a Git LFS pointer, not the file itself"
                return ModelFault(what, "run `git lfs pull` in its folder, or download the model again")
    return None


def is_pointer(path: Path) -> bool:
    """Whether a file only says where Git LFS keeps its content."""
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST_POINTER:
            return False
        return path.read_bytes().startswith(_POINTER)
    except OSError:
        return False


def json_object(path: Path) -> dict[str, Any] | ModelFault:
    """The object that a JSON file holds."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, (OSError, json.JSONDecodeError)) else type(error).__name__
        return ModelFault(f"{path.name} is no JSON ({said})", "download the model again")
    return (
        found
        if isinstance(found, dict)
        else ModelFault(f"{path.name} holds no JSON object", "download the model again")
    )


def _faults(folder: Path, error: Exception) -> Iterator[ModelFault | None]:
    yield pointer_in(folder, *_JSON, "*.safetensors", "*.bin", "*.model", "vocab*", "merges.txt", "*.jinja")
    for name in _JSON:
        if (folder / name).is_file() and isinstance(read := json_object(folder / name), ModelFault):
            yield read
    config = json_object(folder / "config.json")
    if isinstance(config, ModelFault):
        return
    if "okenizer" in str(error) and not any(path for pattern in _VOCABULARY for path in folder.glob(pattern)):
        yield ModelFault("the folder holds no tokenizer", "download the model again with its tokenizer.json")
    yield _model_type(config)
    if "Unrecognized configuration class" in str(error):
        yield ModelFault(f"a {saved_as(config)} is no model of the kind that is asked for", kind_remedy(str(error)))


def saved_as(config: dict[str, Any]) -> str:
    """The class that a model was saved as, by its ``config.json``."""
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else f"{config.get('model_type')} model"


def kind_remedy(said: str) -> str:
    """What to do where a model is of another kind than transformers' Auto class that was asked for it."""
    if "AutoModelForCausalLM" in said:
        return "use a decoder-only (causal) language model; score texts by a reward model with `rewards`"
    return "name a model that was trained for this use"


def _model_type(config: dict[str, Any]) -> ModelFault | None:
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind is None:
        return ModelFault("config.json names no model_type", "download the model again")
    if kind in CONFIG_MAPPING or config.get("auto_map"):
        return None
    return ModelFault(
        f"config.json names the model_type {kind!r}, which transformers {installed('transformers')} does not know",
        "install a newer transformers, or use another model",
    )
