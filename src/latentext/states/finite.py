"""Whether states are numbers, and in words why not: a text whose states overflow is kept, its states are not."""

from __future__ import annotations

from math import isfinite, isnan

import torch

from latentext.request import Failure, StateRows

_REASON = "nonfinite-states"


def nonfinite_states(states: StateRows, *, narrowed: bool = True) -> Failure | None:
    """The failure of a text's states that hold a NaN or an infinity, by the first tensor that does; None if none.

    Args:
        narrowed: the states are kept in a dtype of their own (``states.dtype``), not in the model's.

    Example:
        >>> import numpy as np
        >>> column = np.zeros(1, np.int32)
        >>> rows = StateRows(0, 0, column, column, column, {"embed": torch.tensor([[1e5]]).half()})
        >>> nonfinite_states(rows).message
        'states are not finite in float16 at embed: values beyond 65,504; use states.dtype: bfloat16 or float32'
    """
    extremes = ((name, tensor.dtype, _extremes(tensor)) for name, tensor in states.tensors.items())
    bad = next((found for found in extremes if not all(map(isfinite, found[2]))), None)
    if bad is None:
        return None
    name, dtype, values = bad
    kind = str(dtype).removeprefix("torch.")
    what = f"states are not finite in {kind} at {name}"
    if dtype == torch.float16:
        kind_of_value = "NaN" if any(map(isnan, values)) else f"values beyond {int(torch.finfo(dtype).max):,}"
        what += f": {kind_of_value}; use {'states' if narrowed else 'model'}.dtype: bfloat16 or float32"
    return Failure(states.index, states.sample, _REASON, what)


def _extremes(tensor: torch.Tensor) -> tuple[float, ...]:
    # A NaN shows in both extremes and an infinity in one. `isfinite` of each number takes twenty times as long.
    return tuple(map(float, torch.aminmax(tensor))) if tensor.numel() else ()
