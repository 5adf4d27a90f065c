"""How much memory a model may take on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

SHARE_FOR_WEIGHTS = 0.8
"""Weights above this share of the memory leave too little for the key-value cache and everything else."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory that weights would be loaded into: its owner in words, its size in bytes, whether it is a GPU's."""

    owner: str
    total_bytes: int
    of_gpu: bool = False

    def holds(self, weight_bytes: int) -> bool:
        """Whether weights of this size leave enough room to work with them."""
        return weight_bytes <= SHARE_FOR_WEIGHTS * self.total_bytes


def memory_here() -> Memory:
    """The first GPU's memory, or the machine's where there is none (on a Mac both are the same)."""
    import torch

    if torch.cuda.is_available():
        return Memory(torch.cuda.get_device_name(0), torch.cuda.get_device_properties(0).total_memory, of_gpu=True)
    return Memory("this machine", host_memory())


def host_memory() -> int:
    """Bytes of memory that the processor of this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
