"""How many tokens a machine's memory holds in flight, and how its shortage shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from latentext.engines.engine import OutOfMemory
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import kv_bytes_per_token
from latentext.libraries.torch import SHORT_OF_MEMORY
from latentext.models.memory import host_memory

MOST_BATCH_TOKENS = 262_144
"""Beyond this many tokens in flight no machine measured here became faster."""


def default_batch_tokens(loaded: LoadedModel) -> int:
    """Tokens in flight that a quarter of the machine's memory (half of a GPU's, less the weights) can hold."""
    if loaded.device.type == "cuda":
        total = torch.cuda.get_device_properties(loaded.device).total_memory
        weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
        budget = (total - weights) // 2
    else:
        budget = host_memory() // 4
    per_token = kv_bytes_per_token(loaded.model.config.get_text_config(), loaded.dtype)
    # One captured state of every block at most doubles what a token holds for its keys and values in common models.
    return int(max(1, min(MOST_BATCH_TOKENS, budget // (2 * per_token))))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the ways in which torch and Python say that memory is short into `OutOfMemory`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemory("the device has too little memory for this text") from error
    except MemoryError as error:
        raise OutOfMemory("this machine has too little memory for this text") from error
    except RuntimeError as error:
        if not any(words in str(error) for words in SHORT_OF_MEMORY):
            raise
        raise OutOfMemory("this machine has too little memory for this text") from error
