"""States on their way from the device to the memory of the host."""

from __future__ import annotations

import torch


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
