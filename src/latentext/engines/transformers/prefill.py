"""The prompts of one prefill pass: how many it takes, which of them are the same, and how they are aligned."""

from __future__ import annotations

from collections.abc import Sequence

import torch

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
