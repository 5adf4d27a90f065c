"""A model in memory, with all that the rest of the code asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from latentext.models.resolve import ModelSource
from latentext.states.layout import ModelLayout


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model ready to run, its tokenizer, and the facts that decide its outputs."""

    model: Any
    tokenizer: Any
    layout: ModelLayout
    source: ModelSource
    device: torch.device
    dtype: torch.dtype
    attention: str
    eos_token_ids: frozenset[int]
    pad_token_id: int
    context_length: int
    vocab_size: int

    def context_of(self, prompt_tokens: int) -> int:
        """The tokens that a text with a prompt of this length may have in all.

        A LongRoPE model rotates all tokens anew once a text grows beyond its short length, so its states would be of
        two kinds: a text whose prompt is short ends there.
        """
        limit = self.layout.longrope_length
        return self.context_length if limit is None or prompt_tokens > limit else min(limit, self.context_length)

    @property
    def shards_in_flight(self) -> int:
        """How many shards may be under way: on a GPU one goes to the disk while the model works on the next. On a CPU
        both would want the same cores."""
        return 2 if self.device.type == "cuda" else 1
