"""Coherence: how near the continuation is to the prompt, by the cosine of two sentence embeddings.

The embedding is the encoder's pooled output (of SimCSE: the first token's state through the trained dense layer). An
empty continuation is embedded as the model embeds an empty text.
Source: Gao, Yao and Chen 2021, "SimCSE: Simple contrastive learning of sentence embeddings".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from latentext.errors import SpecError
from latentext.rewards.batches import padded, token_batches
from latentext.rewards.candidate import Candidate
from latentext.rewards.encoding import RewardModel, load_reward_model
from latentext.rewards.entries import EmbeddingReward


class EmbeddingScorer:
    """Scores candidates by the cosine between the embeddings of prompt and continuation."""

    def __init__(self, reward: EmbeddingReward, loaded: RewardModel, token_budget: int):
        self.reward = reward
        self.loaded = loaded
        self.token_budget = token_budget

    def __call__(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Cosines in [-1, 1], float64 [candidates]."""
        # The samples of a prompt share it: each text is embedded once.
        texts = list(dict.fromkeys(text for c in candidates for text in (c.prompt, c.continuation)))
        place = {text: i for i, text in enumerate(texts)}
        units = self._unit_embeddings(texts)
        prompts = units[[place[candidate.prompt] for candidate in candidates]]
        continuations = units[[place[candidate.continuation] for candidate in candidates]]
        return np.asarray((prompts * continuations).sum(axis=1))

    @torch.inference_mode()
    def _unit_embeddings(self, texts: Sequence[str]) -> NDArray[np.float64]:
        encodings = self.loaded.encode(texts)
        units = np.empty((len(texts), self.loaded.model.config.hidden_size))
        for batch in token_batches([len(encoding["input_ids"]) for encoding in encodings], self.token_budget):
            inputs = padded([encodings[i] for i in batch], self.loaded.pad_token_id, self.loaded.device)
            pooled = getattr(self.loaded.model(**inputs), "pooler_output", None)
            if pooled is None:
                raise SpecError(
                    f"{self.reward.embedding} has no pooled output",
                    where=f"reward {self.reward.name}",
                    remedy="name an encoder with a pooler, as BERT has it",
                )
            vectors = pooled.double()
            units[batch] = (vectors / vectors.norm(dim=1, keepdim=True)).cpu().numpy()
        return units


def load_embedding(reward: EmbeddingReward, device: torch.device, token_budget: int) -> EmbeddingScorer:
    """Load the encoder that a reward names.

    Raises:
        SpecError, CredentialsError: as `latentext.rewards.encoding.load_reward_model`.
    """
    loaded = load_reward_model(AutoModel, reward.embedding, reward.revision, reward.dtype, device, reward.name)
    return EmbeddingScorer(reward, loaded, token_budget)
