"""Changes to the logits that depend on the tokens so far: penalties, forbidden n-grams, a minimum length.

`repetition_penalty` and `no_repeat_ngram_size` mean what they mean in transformers (prompt and generated tokens count);
`presence_penalty` and `frequency_penalty` mean what they mean in OpenAI's API (generated tokens count). They act before
temperature and filters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from latentext.spec import Decoding


class TokenHistory:
    """Counts of the tokens of each slot, kept on the device so that a step is a few vector operations.

    One slot holds one text; `start` begins a new text in a slot. Nothing is allocated for penalties that are off.
    """

    def __init__(self, slots: int, vocabulary: int, decoding: Decoding, device: torch.device):
        self.decoding = decoding
        self._seen: torch.Tensor | None = None
        self._counts: torch.Tensor | None = None
        self._ids: list[list[int]] | None = None
        if decoding.repetition_penalty != 1.0:
            self._seen = torch.zeros(slots, vocabulary, dtype=torch.bool, device=device)
        if decoding.presence_penalty or decoding.frequency_penalty:
            self._counts = torch.zeros(slots, vocabulary, device=device)
        if decoding.no_repeat_ngram_size:
            self._ids = [[] for _ in range(slots)]

    def start(self, slot: int, prompt_token_ids: Sequence[int]) -> None:
        """Forget the slot's last text and take in the prompt of the next one."""
        if self._seen is not None:
            self._seen[slot] = False
            self._seen[slot, torch.as_tensor(list(prompt_token_ids), device=self._seen.device)] = True
        if self._counts is not None:
            self._counts[slot] = 0
        if self._ids is not None:
            self._ids[slot] = list(prompt_token_ids)

    def append(self, slots: torch.Tensor, tokens: torch.Tensor) -> None:
        """Take in one new token for each of the given slots."""
        if self._seen is not None:
            self._seen[slots, tokens] = True
        if self._counts is not None:
            self._counts[slots, tokens] += 1
        if self._ids is not None:
            for slot, token in zip(slots.tolist(), tokens.tolist(), strict=True):
                self._ids[slot].append(token)

    def penalise(self, logits: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        """Logits [batch, vocabulary] of the given slots with all penalties applied (a new tensor if any is on)."""
        if self._seen is not None:
            penalty = self.decoding.repetition_penalty
            punished = torch.where(logits < 0, logits * penalty, logits / penalty)
            logits = torch.where(self._seen[slots], punished, logits)
        if self._counts is not None:
            counts = self._counts[slots]
            logits = logits - self.decoding.frequency_penalty * counts
            logits = logits - self.decoding.presence_penalty * (counts > 0)
        if self._ids is not None:
            logits = logits.clone()
            for row, slot in enumerate(slots.tolist()):
                banned = repeated_ngram_ends(self._ids[slot], self.decoding.no_repeat_ngram_size)
                logits[row, banned] = -torch.inf
        return logits


def repeated_ngram_ends(token_ids: Sequence[int], size: int) -> list[int]:
    """Tokens that would complete an n-gram of `size` that already stands in `token_ids`.

    Example:
        >>> repeated_ngram_ends([1, 2, 3, 1, 2], 3)
        [3]
    """
    if len(token_ids) < size:
        return []
    ending = tuple(token_ids[len(token_ids) - size + 1 :])
    return sorted(
        {
            token_ids[i + size - 1]
            for i in range(len(token_ids) - size + 1)
            if tuple(token_ids[i : i + size - 1]) == ending
        }
    )
