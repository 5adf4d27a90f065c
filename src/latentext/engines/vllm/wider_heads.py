"""Models whose heads vLLM's CPU kernels cannot compute, rewritten as the same function with wider heads.

The CPU build of vLLM has attention kernels for a few head sizes only (on a GPU nearly every size has one). A head of
size d is the same head at size r·d, r whole, with zeros at the new places:

* Rotary positions turn component i with i + d/2 by an angle position · theta^(-2i/d). At size r·d, component r·i turns
  by theta^(-2ri/(rd)), the same angle. So component i goes to r·i, and i + d/2 to r·d/2 + r·i.
* Scores are divided by the root of the head size; the queries are multiplied by √r to make up for it.
* Zeros add nothing to scores, and the output projection has zero columns where the values are zero.

Hidden states, logits and texts are those of the original, up to the rounding of sums in another order.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from latentext.errors import EngineError, SpecError

_FAMILIES = ("llama", "mistral", "qwen2")
"""Model types whose attention is plain rotary attention without a norm over the head."""

_COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


def head_size(config: Any) -> int:
    """Components of one attention head, from the configuration of a model's text part."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def widening(config: Any, supported: list[int]) -> int:
    """By how much the heads have to be widened for kernels of the `supported` sizes; 1 if they fit.

    Raises:
        SpecError: no supported size will do, or the model's attention is of another kind.

    Example:
        >>> from types import SimpleNamespace
        >>> widening(SimpleNamespace(head_dim=8, model_type="llama"), [32, 64, 80])
        4
    """
    size = head_size(config)
    if not supported or size in supported:
        return 1
    rope = getattr(config, "rope_parameters", None) or {}
    fitting = [s // size for s in sorted(supported) if s % size == 0]
    if not fitting or config.model_type not in _FAMILIES or rope.get("rope_type", "default") != "default":
        raise SpecError(
            f"vLLM computes heads of size {', '.join(map(str, supported))} on a CPU, and this model's have {size}",
            where="model.engine",
            remedy="use engine: transformers",
        )
    return fitting[0]


def write_widened(source: Path, target: Path, factor: int) -> None:
    """Write the model in the folder `source` into `target` with heads `factor` times as wide, in float32.

    Raises:
        EngineError: the weights cannot be read, or are not named as in the families known here.
    """
    config = json.loads((source / "config.json").read_text())
    heads, key_heads = config["num_attention_heads"], config.get("num_key_value_heads") or config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    try:
        weights = {k: v for path in sorted(source.glob("*.safetensors")) for k, v in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise EngineError(f"the weights cannot be read: {error}", where=f"model {source}") from error
    if not any(name.endswith("self_attn.q_proj.weight") for name in weights):
        raise EngineError(
            "its heads have a size that vLLM cannot compute on a CPU, and its weights are not safetensors of a Llama",
            where=f"model {source}",
            remedy="use engine: transformers",
        )
    target.mkdir(parents=True, exist_ok=True)
    widened = {name: _widen(name, w.float(), heads, key_heads, size, factor) for name, w in weights.items()}
    save_file(widened, target / "model.safetensors", metadata={"format": "pt"})
    config |= {"head_dim": size * factor, "dtype": "float32"}
    config.pop("torch_dtype", None)
    (target / "config.json").write_text(json.dumps(config))
    for name in _COPIED:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def places(size: int, factor: int) -> torch.Tensor:
    """Where the components of a head of this size go in the wider one.

    Example:
        >>> places(4, 2).tolist()
        [0, 2, 4, 6]
    """
    return torch.arange(size) * factor


def _widen(name: str, weight: torch.Tensor, heads: int, key_heads: int, size: int, factor: int) -> torch.Tensor:
    """One tensor of the model: projections into heads get zero rows, the one out of them zero columns."""
    module = name.rpartition(".")[0].rpartition(".")[2]
    if module in ("q_proj", "k_proj", "v_proj"):
        count = heads if module == "q_proj" else key_heads
        by_head = weight.view(count, size, *weight.shape[1:])
        wide = torch.zeros(count, size * factor, *weight.shape[1:])
        wide[:, places(size, factor)] = by_head * math.sqrt(factor) if module == "q_proj" else by_head
        return wide.flatten(0, 1)
    if module == "o_proj" and weight.dim() == 2:
        wide = torch.zeros(weight.shape[0], heads, size * factor)
        wide[:, :, places(size, factor)] = weight.view(weight.shape[0], heads, size)
        return wide.flatten(1)
    return weight.contiguous()
