"""Which of torch's attention kernels serve passes whose shapes change all the time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_ANY_SHAPE = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def changing_shapes(device: torch.device) -> AbstractContextManager[None]:
    """Keep cuDNN's attention out of the passes inside the ``with`` block.

    On recent GPUs torch prefers it, and it makes a plan for every new shape: about 60 ms on an H100, where a step of
    256 texts through a model of 3 billion weights takes 20. Each step is longer by a token, so each has a new shape.
    """
    return sdpa_kernel(_ANY_SHAPE) if device.type == "cuda" else nullcontext()
