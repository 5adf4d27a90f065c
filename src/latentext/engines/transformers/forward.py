"""One pass of a model over the newest tokens of a batch, and the first one over whole prompts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch

from latentext.engines.transformers.cache import SlabCache
from latentext.engines.transformers.loaded import LoadedModel
from latentext.libraries.transformers.models import cache_argument
from latentext.states.host import changing_shapes


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


PREFILL_TOKENS = 16_384
"""Prompt tokens, padding included, that one prefill pass takes at most: bounds the memory of its activations."""


def prompts_a_pass(longest: int) -> int:
    """Prompts of up to so many tokens that one pass takes (at least one).

    Example:
        >>> prompts_a_pass(4096), prompts_a_pass(100_000)
        (4, 1)
    """
    return max(1, PREFILL_TOKENS // max(1, longest))


def distinct_prompts(prompts: Sequence[Sequence[int]]) -> tuple[list[Sequence[int]], list[int]]:
    """The distinct prompts in order of appearance, and for each prompt the number of its like among them.

    Example:
        >>> distinct_prompts([[5, 6], [7], [5, 6]])
        ([(5, 6), (7,)], [0, 1, 0])
    """
    numbers: dict[Sequence[int], int] = {}
    source_rows = [numbers.setdefault(tuple(prompt), len(numbers)) for prompt in prompts]
    return list(numbers), source_rows


def right_aligned(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, int64 [batch, longest], of prompts padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    token_ids = torch.empty(len(prompts), longest, dtype=torch.long)
    attention_mask = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        # Padded with a token of its own: a pad token may lie beyond the embeddings, or be a NaN there.
        token_ids[row] = prompt[0]
        token_ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        attention_mask[row, longest - len(prompt) :] = 1
    return token_ids.to(device), attention_mask.to(device)
