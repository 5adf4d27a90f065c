"""Texts grouped by length, so that a batch holds a bounded number of tokens and little padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch


def token_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of texts in batches of at most `token_budget` tokens, padding counted; a longer text is its own batch.

    A pure function of the lengths, longest first: memory runs out in the first batch or never.

    Example:
        >>> token_batches([3, 9, 2, 4], token_budget=9)
        [[1], [3, 0], [2]]
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * longest <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = lengths[index]
    return batches


def padded(
    encodings: Sequence[Mapping[str, Sequence[int]]], pad_token_id: int, device: torch.device
) -> dict[str, torch.Tensor]:
    """Encodings of several texts as int64 tensors [texts, longest], padded on the right.

    `attention_mask` tells padding from text even where the padding token occurs in the text.
    """
    longest = max(len(encoding["input_ids"]) for encoding in encodings)
    fills = {"input_ids": pad_token_id}
    return {
        name: torch.tensor(
            [[*encoding[name], *[fills.get(name, 0)] * (longest - len(encoding[name]))] for encoding in encodings],
            device=device,
        )
        for name in encodings[0]
    }
