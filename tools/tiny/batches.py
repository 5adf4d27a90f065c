"""Micro-batches of texts of similar length: little padding, and every step still sees the whole mixture."""

from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tiny.corpus import batch_at
from tiny.rendering import Encoded, encode_batch

MicroBatch = tuple[Tensor, Tensor]
"""Ids and loss weights, both [texts, length], padded on the right."""


MICRO_BATCH_TOKENS = 1024
"""Padded size of a micro-batch. It changes the speed only: small ones waste less on padding and stay in the cache."""


def pad(texts: list[Encoded], pad_id: int) -> MicroBatch:
    """Right padding: with a causal mask, no real token ever sees it."""
    length = max(len(text.ids) for text in texts)
    ids = torch.full((len(texts), length), pad_id)
    weights = torch.zeros(len(texts), length)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        weights[row, : len(text.ids)] = torch.tensor(text.weights)
    return ids, weights


def micro_batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, step: int, size: int, longest: int
) -> list[MicroBatch]:
    """One step's texts, sorted by length and cut where the padded size would pass MICRO_BATCH_TOKENS."""
    rng = Random(f"{seed}/{step}/rendering")
    texts = sorted(encode_batch(batch_at(seed, step, size), tokenizer, rng, longest), key=lambda text: len(text.ids))
    groups: list[list[Encoded]] = [[]]
    for text in texts:
        if groups[-1] and (len(groups[-1]) + 1) * len(text.ids) > MICRO_BATCH_TOKENS:
            groups.append([])
        groups[-1].append(text)
    return [pad(group, tokenizer.pad_token_id) for group in groups]
