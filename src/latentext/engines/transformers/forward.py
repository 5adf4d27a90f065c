"""One pass of a model over the newest tokens of a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from latentext.engines.transformers.cache import SlabCache
from latentext.engines.transformers.loaded import LoadedModel
from latentext.libraries.transformers.models import cache_argument
from latentext.states.kernels import changing_shapes


def last_logits(
    loaded: LoadedModel,
    cache: SlabCache,
    token_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    position_ids: torch.Tensor,
) -> torch.Tensor:
    """Logits [batch, vocabulary] of the last position, in float32.

    Args:
        token_ids, position_ids: [batch, tokens].
        attention_mask: [batch, columns of the cache's window].
    """
    cache_name, takes = _arguments_of(type(loaded.model).forward)
    # As a number, models that share keys between blocks (Gemma 4) would compute no more than that position in the later
    # blocks, and the states of a prompt would be one row repeated.
    last = 1 if token_ids.shape[1] == 1 else torch.tensor([-1], device=token_ids.device)
    options = {"position_ids": position_ids, "logits_to_keep": last}
    with changing_shapes(loaded.device):
        output = loaded.model(
            input_ids=token_ids,
            attention_mask=attention_mask,
            use_cache=True,
            **{cache_name: cache},
            **{name: value for name, value in options.items() if name in takes},
        )
    logits: torch.Tensor = output.logits[:, -1].float()
    return logits


@lru_cache
def _arguments_of(forward: Callable[..., Any]) -> tuple[str, frozenset[str]]:
    """The name of the argument that takes the cache, and all names; `check_cacheable` saw that there is one."""
    return cache_argument(forward) or "cache", frozenset(inspect.signature(forward).parameters)
