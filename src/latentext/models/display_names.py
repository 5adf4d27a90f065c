"""What a model is called in files and pages that travel: its name, or of a folder as much of its path as says which.

A card that says ``hf`` names no model, and a whole path tells strangers how somebody's disk is laid out. So a folder is
called by its last name, and where that says nothing by itself (``hf``, ``checkpoint-500``) by the names above it too.
Names of homes (``/home/ada``) never get in. What ``_name_or_path`` in a config.json says is not used: after
fine-tuning it still names the model that was begun with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LABEL = "model_label"
"""Where a dataset's provenance keeps the name, below `engine`, where the last name of the folder says nothing: a
dataset and its model may move together, and are called the same then."""

_SAYS_NOTHING = re.compile(
    r"hf|hub|huggingface|transformers|gguf|pytorch|safetensors|onnx|quantized|"
    r"models?|llm|weights?|checkpoints?|ckpts?|snapshots?|runs?|outputs?|out|results?|exports?|exported|saved|save|"
    r"final|best|last|latest|main|merged|base|trained|adapter|tmp|temp|data|cache|"
    r"fp16|bf16|fp32|float16|bfloat16|float32|int8|int4|"
    r"(?:checkpoint|ckpt|step|epoch|global_step|version|v|run)?[-_.]?\d[\d._-]*|[0-9a-f]{12,64}",
    re.IGNORECASE,
)
_CACHED = re.compile(r"models--([^/]+?)--([^/]+)")
_MOST_NAMES = 4


def model_label(name: str) -> str:
    """What a model is called: a Hugging Face id as it is, a folder by as many of its last names as say which it is.

    Example:
        >>> model_label("/home/ada/models/stories"), model_label("Qwen/Qwen2-0.5B")
        ('stories', 'Qwen/Qwen2-0.5B')
        >>> model_label("/data/SmolLM2/hf"), model_label("/home/ada/runs/poet/step-500"), model_label("/home/ada/hf")
        ('SmolLM2/hf', 'poet/step-500', 'hf')
        >>> model_label("/cache/hub/models--Qwen--Qwen2-0.5B/snapshots/0123456789abcdef")
        'Qwen/Qwen2-0.5B'
    """
    if not _is_path(name) and not Path(name).is_dir():
        return name
    parts = Path(os.path.abspath(Path(name).expanduser())).parts  # noqa: PTH100 - a link is called by its own name.
    for part in parts:
        if cached := _CACHED.fullmatch(part):
            return f"{cached[1]}/{cached[2]}"
    kept = [parts[-1]]
    for part in reversed(_below_homes(parts[:-1])):
        if not _SAYS_NOTHING.fullmatch(kept[0]) or len(kept) == _MOST_NAMES:
            break
        kept.insert(0, part)
    while len(kept) > 1 and _SAYS_NOTHING.fullmatch(kept[0]):
        kept.pop(0)  # Names above that say nothing either are no help.
    return "/".join(kept)


def folder_name(name: str) -> str:
    """The last name of a folder; any other name as it is."""
    return Path(name).name if _is_path(name) else name


def recorded_label(name: str, provenance: Mapping[str, Any]) -> str:
    """What the model of a dataset is called, by the name in its spec and what its provenance keeps."""
    engine = provenance.get("engine")
    label = engine.get(LABEL) if isinstance(engine, Mapping) else None
    return label if isinstance(label, str) else folder_name(name)


def _is_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or Path(name).is_absolute() or (name.count("/") > 1)


def _below_homes(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The folders above a model that are nobody's home, nor the disk."""
    below = parts[1:]
    if below[:1] in (("home",), ("Users",)):
        return below[2:]
    return below[1:] if below[:1] == ("root",) else below
