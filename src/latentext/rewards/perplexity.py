"""Perplexity as a reward: the mean log-probability of a text under the model that wrote it, in nats a token.

Higher is likelier: the negative of the mean negative log-likelihood, so -3.3 is a perplexity of e^3.3 = 27. The
distribution is the model's own, without temperature or filters. Log-probabilities recorded with the records are used
where they are there; if they are there for all, no model is needed.

Rules: an empty continuation is scored as its end token. A text without any context is conditioned on the token that
begins texts. What exceeds the model's context loses its beginning, a full text its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from latentext.errors import SpecError
from latentext.rewards.batches import padded, token_batches
from latentext.rewards.candidate import Candidate
from latentext.rewards.encoding import RewardModel
from latentext.rewards.entries import PerplexityReward

_ROWS_AT_ONCE = 256  # Rows of logits in float32: with a vocabulary of 128,256 each is half a megabyte.


@dataclass(frozen=True)
class _Tokens:
    """A text divided into what is given and what is scored, at least one token each."""

    context: list[int]
    scored: list[int]

    @property
    def encoding(self) -> dict[str, list[int]]:
        input_ids = self.context + self.scored
        return {"input_ids": input_ids, "attention_mask": [1] * len(input_ids)}

    @property
    def predicting(self) -> slice:
        """The positions whose logits predict the scored tokens."""
        return slice(len(self.context) - 1, len(self.context) + len(self.scored) - 1)


class PerplexityScorer:
    """Scores candidates by recorded log-probabilities, or under a causal language model in memory."""

    def __init__(self, reward: PerplexityReward, loaded: RewardModel | None, token_budget: int):
        self.reward = reward
        self.loaded = loaded
        self.token_budget = token_budget

    def __call__(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Mean log-probabilities, float64 [candidates].

        Raises:
            SpecError: a text has no recorded log-probabilities, and there is no model.
        """
        scores = np.empty(len(candidates))
        to_compute = []
        for place, candidate in enumerate(candidates):
            if self.reward.perplexity == "continuation" and candidate.logprobs:
                scores[place] = np.mean(candidate.logprobs)
            else:
                to_compute.append(place)
        if to_compute:
            scores[to_compute] = self._computed([candidates[place] for place in to_compute])
        return scores

    @torch.inference_mode()
    def _computed(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        if self.loaded is None:
            raise SpecError(
                f"reward {self.reward.name} needs the model that wrote the texts", remedy="record decoding.logprobs"
            )
        texts = [self._tokens(self.loaded, candidate) for candidate in candidates]
        scores = np.empty(len(texts))
        for batch in token_batches([len(text.context) + len(text.scored) for text in texts], self.token_budget):
            encodings = [texts[i].encoding for i in batch]
            logits = self.loaded.model(**padded(encodings, self.loaded.pad_token_id, self.loaded.device)).logits
            for row, i in enumerate(batch):
                scores[i] = _mean_log_probability(logits[row, texts[i].predicting], texts[i].scored)
        return scores

    def _tokens(self, loaded: RewardModel, candidate: Candidate) -> _Tokens:
        tokenizer = loaded.tokenizer
        if self.reward.perplexity == "full_text":
            ids = list(tokenizer(candidate.full_text)["input_ids"])[: loaded.max_length]
            context, scored = ids[:1], ids[1:]
        elif candidate.token_ids:
            context, scored = list(candidate.prompt_token_ids), list(candidate.token_ids)
        else:
            context = list(tokenizer(candidate.prompt)["input_ids"])
            scored = list(tokenizer(candidate.joint + candidate.text, add_special_tokens=False)["input_ids"])
        begin = loaded.end_token_id if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
        scored = (scored or [loaded.end_token_id])[: loaded.max_length - 1]
        room = loaded.max_length - len(scored)
        return _Tokens((context or [begin])[-room:], scored)


def _mean_log_probability(logits: torch.Tensor, token_ids: Sequence[int]) -> float:
    """Mean over rows of log softmax(logits [rows, vocabulary]) at the row's token, in float32 or better."""
    targets = torch.tensor(token_ids, device=logits.device)
    total = 0.0
    for start in range(0, len(targets), _ROWS_AT_ONCE):
        rows, ids = logits[start : start + _ROWS_AT_ONCE].float(), targets[start : start + _ROWS_AT_ONCE]
        total += float((rows.gather(1, ids[:, None])[:, 0] - rows.logsumexp(dim=1)).double().sum())
    return total / len(targets)
