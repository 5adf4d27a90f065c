"""Rewards that are a logit of a sequence classifier or regressor, read the way the model was trained to be read.

Encoders (BERT, DistilBERT, DeBERTa) have a head of their own on a pooled state. Decoders (GPT-2, Llama, …) put a linear
`score` on the state of the last token; transformers finds that token by comparing ids with the padding id, which goes
wrong when a text ends with it and refuses batches when there is none. Here the attention mask tells where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from latentext.errors import PromptError, SpecError
from latentext.rewards.batches import padded, token_batches
from latentext.rewards.candidate import Candidate
from latentext.rewards.encoding import RewardModel, load_reward_model
from latentext.rewards.entries import ClassifierReward


class ClassifierScorer:
    """Scores candidates by one logit of a model in memory."""

    def __init__(self, reward: ClassifierReward, loaded: RewardModel, token_budget: int):
        labels = int(loaded.model.config.num_labels)
        if reward.logit >= labels:
            raise SpecError(
                f"logit {reward.logit} of a model with {labels} (0 to {labels - 1})", where=f"reward {reward.name}"
            )
        self.reward = reward
        self.loaded = loaded
        self.token_budget = token_budget

    @torch.inference_mode()
    def __call__(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Raw logits, float64 [candidates]."""
        encodings = self._encode(candidates)
        scores = np.empty(len(candidates))
        for batch in token_batches([len(encoding["input_ids"]) for encoding in encodings], self.token_budget):
            inputs = padded([encodings[i] for i in batch], self.loaded.pad_token_id, self.loaded.device)
            scores[batch] = _logits(self.loaded.model, inputs)[:, self.reward.logit].double().cpu().numpy()
        return scores

    def _encode(self, candidates: Sequence[Candidate]) -> list[dict[str, list[int]]]:
        if input_form(self.reward, self.loaded.tokenizer) != CHAT:
            return self.loaded.encode(*classifier_inputs(self.reward, candidates))
        try:
            return self.loaded.encode_chats([candidate.chat for candidate in candidates])
        except PromptError as error:
            raise SpecError(
                f"{self.reward.classifier} cannot read a text as a chat: {error.what}",
                where=f"reward {self.reward.name}",
                remedy="give the reward input: full_text, which shows it prompt and text as one raw text",
            ) from error


def load_classifier(reward: ClassifierReward, device: torch.device, token_budget: int) -> ClassifierScorer:
    """Load the model that a reward names.

    Raises:
        SpecError, CredentialsError: as `latentext.rewards.encoding.load_reward_model`; or the model has too few logits.
    """
    auto_class = AutoModelForSequenceClassification
    loaded = load_reward_model(auto_class, reward.classifier, reward.revision, reward.dtype, device, reward.name)
    return ClassifierScorer(reward, loaded, token_budget)


CHAT = "chat"
"""The input of a model that reads its own chat template."""


def input_form(reward: ClassifierReward, tokenizer: Any) -> str:
    """What a model is given: ``chat``, or one of the raw forms that a spec can name."""
    if reward.input != "auto":
        return reward.input
    return CHAT if tokenizer.chat_template else "full_text"


def classifier_inputs(reward: ClassifierReward, candidates: Sequence[Candidate]) -> tuple[list[str], list[str] | None]:
    """The raw texts that the model reads, and the second texts of pairs.

    Example:
        >>> pair = ClassifierReward(name="r", classifier="org/model", input="pair", question="Q: {prompt} A:")
        >>> classifier_inputs(pair, [Candidate("why?", " because ")])
        (['Q: why? A:'], ['because'])
    """
    if reward.input in ("auto", "full_text"):
        return [candidate.full_text for candidate in candidates], None
    continuations = [candidate.continuation for candidate in candidates]
    if reward.input == "continuation":
        return continuations, None
    return [reward.question.replace("{prompt}", candidate.prompt) for candidate in candidates], continuations


def _logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits [texts, labels] of a padded batch."""
    head = getattr(model, "score", None)
    if head is None:
        return model(**inputs).logits  # type: ignore[no-any-return]
    states = model.base_model(**inputs).last_hidden_state
    last = inputs["attention_mask"].sum(dim=1) - 1
    return head(states[torch.arange(len(last), device=last.device), last])  # type: ignore[no-any-return]
