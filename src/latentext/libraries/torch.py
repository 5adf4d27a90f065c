"""What latentext uses of torch beyond its documented interface.

* *oneDNN's operators*, which multiply by weights that were packed before (``torch.ops.mkldnn``). torch's own compiler
  uses them; they may change with any release. `can_pack` tries them, and where they fail layers compute as usual.
* *Words of errors.* Shortage of memory on a CPU, in the CUDA driver and in cuBLAS is an error of no kind of its own.

CUDA graphs (``torch.cuda.graph``) and ``torch.nn.attention.sdpa_kernel`` are documented. A step that cannot be recorded
as a graph is taken kernel by kernel (engines/transformers/fixed_steps.py).
"""

from __future__ import annotations

import logging
import platform
from functools import cache

import torch

logger = logging.getLogger(__name__)

SHORT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


@cache
def can_pack() -> bool:
    """Whether weights can be packed here: on x86, by a torch whose operators give what a linear layer gives."""
    if platform.machine() not in {"x86_64", "AMD64"} or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    states, weight, bias = torch.ones(3, 8), torch.arange(32.0).view(4, 8), torch.arange(4.0)
    try:
        with torch.inference_mode():
            found = packed_linear(pack(weight), bias, states)
    except (AttributeError, RuntimeError, TypeError) as error:
        problem = str(error).splitlines()[0]
    else:
        if torch.allclose(found, torch.nn.functional.linear(states, weight, bias)):
            return True
        problem = "other results"
    logger.warning(
        "oneDNN's operators have changed in torch %s (%s): layers compute without packed weights, more slowly",
        torch.__version__,
        problem,
    )
    return False


def pack(weight: torch.Tensor) -> torch.Tensor:
    """A packed copy of a weight [outputs, inputs], float32 on a CPU."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def packed_linear(packed: torch.Tensor, bias: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor:
    """What a linear layer with this packed weight makes of states [..., inputs].

    Example:
        >>> weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> packed_linear(pack(weight), None, torch.tensor([[1.0, 1.0]])).tolist() if can_pack() else [[3.0, 7.0]]
        [[3.0, 7.0]]
    """
    outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, packed, bias, "none", [], "")
    return outputs
