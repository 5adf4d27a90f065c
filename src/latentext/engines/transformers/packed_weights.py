"""Weights of linear layers in the order in which a CPU reads them, for as long as a model works.

Every product with a matrix of weights first brings the weights into blocks that fit the processor's registers. With as
few rows as a decode step has, that can cost as much as the product itself. oneDNN, which comes with torch, can be given
weights in that order. Passes over whole texts have so many rows that it makes no difference (`docs/benchmarks.md`).

oneDNN adds a long sum up in one piece, so states are about half as exact as with transformers' own layers. Sums in
pieces of 192 terms are as exact, and take a sixth longer for 8 texts (`benchmarks/exactness.py --pieces 192`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from latentext.libraries.torch import can_pack, pack, packed_linear
from latentext.libraries.transformers.models import Conv1D
from latentext.models.memory import host_memory

FEWEST_PASSES = 32
"""Packing takes the time of about two decode steps and spares a tenth of each, or more."""

_FEWEST_WEIGHTS = 1 << 17
"""Smaller matrices stay in the processor's cache, and the call of oneDNN costs more than it spares."""
_SHARE_OF_MEMORY = 8
"""The packed copy, which is kept next to the weights, takes this part of the machine's memory at most."""


@contextmanager
def packed_weights(model: nn.Module) -> Iterator[None]:
    """Let the large linear layers of a float32 model on a CPU use packed copies inside the ``with`` block.

    Copies are made anew each time (the time of about two decode steps), so that weights which were changed in between
    are the ones that count. Whoever enters holds the model's `turn`. Outputs differ from the layers' own in the last
    bits.

    Example:
        >>> layer = nn.Linear(1024, 512)
        >>> with torch.inference_mode(), packed_weights(layer):
        ...     packed = layer(torch.ones(2, 1024))
        >>> bool(torch.allclose(packed, layer(torch.ones(2, 1024)), atol=1e-4))
        True
    """
    layers = _large_layers(model) if can_pack() else []
    if sum(layer.weight.nbytes for layer in layers) > host_memory() // _SHARE_OF_MEMORY:
        layers = []
    changed: list[nn.Linear | Conv1D] = []
    try:
        for layer in layers:
            packed = pack(_weights(layer))
            vars(layer)["forward"] = partial(packed_linear, packed, layer.bias)
            changed.append(layer)
        yield
    finally:
        for layer in changed:
            del layer.forward


def _large_layers(model: nn.Module) -> list[nn.Linear | Conv1D]:
    """Layers that are what transformers made them: no subclass, and no `forward` that somebody put in its place."""
    return [
        layer
        for layer in model.modules()
        if (type(layer) is nn.Linear or type(layer) is Conv1D)
        and "forward" not in vars(layer)
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and layer.weight.numel() >= _FEWEST_WEIGHTS
    ]


def _weights(layer: nn.Linear | Conv1D) -> torch.Tensor:
    """[outputs, inputs], whichever way the layer keeps them."""
    weight = layer.weight.detach()
    return weight.t().contiguous() if isinstance(layer, Conv1D) else weight
