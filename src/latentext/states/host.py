"""States on their way from the device to the memory of the host.

`changing_shapes` names the attention kernels that serve passes whose shapes change all the time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from latentext.models.memory import host_memory

_SHARE_OF_MEMORY = 32
"""Texts copied together take this part of the host's memory at most, and two shards may be on their way."""


class HostCopies:
    """Copies that are asked for one by one and waited for together, so that the device never stands still in between.

    From a GPU they go to pinned memory, at several times the rate of ordinary memory; torch keeps what is let go for
    the next ones. `wait` must be called before a copy is read.

    Example:
        >>> copies = HostCopies()
        >>> copied = copies.take(torch.ones(2, 3), torch.float16)
        >>> copies.wait()
        >>> copied.dtype, copied.sum().item()
        (torch.float16, 6.0)
    """

    def __init__(self) -> None:
        self._devices: set[torch.device] = set()

    def take(self, states: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """A contiguous copy on the host, also where `states` is there already: its memory may be used again."""
        if states.device.type != "cuda":
            return states.to("cpu", dtype, copy=True)
        self._devices.add(states.device)
        copied = torch.empty(states.shape, dtype=dtype, pin_memory=True)
        return copied.copy_(states.to(dtype), non_blocking=True)

    def wait(self) -> None:
        """Return when all copies taken so far have arrived."""
        for device in self._devices:
            torch.cuda.current_stream(device).synchronize()
        self._devices.clear()


def texts_copied_together(device: torch.device, bytes_a_text: int) -> int:
    """How many finished texts to copy before the first of them goes on its way.

    From a GPU as many as the host can well hold: the GPU works on while they are looked at and written. On a CPU one,
    since a copy gains nothing there and takes memory.

    Example:
        >>> texts_copied_together(torch.device("cpu"), 4096)
        1
    """
    if device.type != "cuda":
        return 1
    return max(1, host_memory() // _SHARE_OF_MEMORY // max(1, bytes_a_text))


_ANY_SHAPE = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def changing_shapes(device: torch.device) -> AbstractContextManager[None]:
    """Keep cuDNN's attention out of the passes inside the ``with`` block.

    On recent GPUs torch prefers it, and it makes a plan for every new shape: about 60 ms on an H100, where a step of
    256 texts through a model of 3 billion weights takes 20. Each step is longer by a token, so each has a new shape.
    """
    return sdpa_kernel(_ANY_SHAPE) if device.type == "cuda" else nullcontext()
