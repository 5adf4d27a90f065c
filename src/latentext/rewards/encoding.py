"""Reward models as Hugging Face publishes them: loaded with their tokenizer, texts encoded as their cards say."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from latentext.errors import SpecError
from latentext.models.pretrained import read_config, read_weights
from latentext.models.resolve import model_fingerprint, resolve_model
from latentext.prompts.chat import ChatFormat
from latentext.prompts.tokenizer import load_tokenizer, tokenizer_fingerprint
from latentext.request import Message
from latentext.spec import DType

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class RewardModel:
    """A model and its tokenizer in memory.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: the model's own.
        max_length: tokens that the model takes; longer inputs are truncated as the tokenizer does it.
        pad_token_id: what fills shorter texts of a batch; masked, so any id will do.
    """

    model: Any
    tokenizer: Any
    max_length: int
    pad_token_id: int

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[dict[str, list[int]]]:
        """Encode texts, or pairs of texts, with the tokenizer's own special tokens: one mapping a text.

        A text that gives no token at all (an empty one, without special tokens) is encoded as one end token: a model
        cannot read nothing.
        """
        found = self.tokenizer(
            list(texts), None if pairs is None else list(pairs), truncation=True, max_length=self.max_length
        )
        # Some tokenizers of DistilBERT models are BERT's own and give token types, which DistilBERT does not have.
        names = [name for name in found if name in inspect.signature(self.model.forward).parameters]
        encodings = [{name: list(found[name][row]) for name in names} for row in range(len(texts))]
        empty = {name: [0] for name in names} | {"input_ids": [self.end_token_id], "attention_mask": [1]}
        return [encoding if encoding["input_ids"] else empty for encoding in encodings]

    def encode_chats(self, chats: Sequence[Sequence[Message]]) -> list[dict[str, list[int]]]:
        """Encode conversations as the tokenizer's own chat template writes them, answers included: one mapping a chat.

        Nothing is added but the BOS that this tokenizer begins its texts with, where the template has none.

        Raises:
            PromptError: the template refuses a conversation.
        """
        form = _answered_chats(self.tokenizer)
        render = form.renderer(self.tokenizer)
        encoded = form.encode_batch(self.tokenizer, [render(chat) for chat in chats])
        kept = slice(-self.max_length, None) if self.tokenizer.truncation_side == "left" else slice(self.max_length)
        return [{"input_ids": ids[kept], "attention_mask": [1] * len(ids[kept])} for ids in encoded]

    @property
    def end_token_id(self) -> int:
        """The token that ends a text."""
        ids = (self.tokenizer.eos_token_id, self.tokenizer.sep_token_id, self.pad_token_id)
        return next(int(found) for found in ids if found is not None)


def load_reward_model(
    auto_class: Any, name: str, revision: str | None, dtype: DType, device: torch.device, reward_name: str
) -> RewardModel:
    """Load a model by one of transformers' Auto classes, with its tokenizer.

    Raises:
        SpecError: the model is unknown, unreadable, not trained for this use, or out of reach of the network.
        CredentialsError: the model is gated.
    """
    source = resolve_model(name, revision)
    model, loading = read_weights(auto_class, source, kind=f"reward {reward_name}: model", dtype=_DTYPES[dtype])
    untrained = sorted(loading["missing_keys"])
    if untrained:  # Transformers fills them with random numbers, which would pass for scores.
        raise SpecError(
            f"has no weights for {', '.join(untrained[:3])}: it was not trained as a {type(model).__name__}",
            where=f"reward {reward_name}: model {name}",
            remedy="name a model that was trained for this use",
        )
    return reward_model_from(model.to(device), load_tokenizer(source))


def reward_model_from(model: Any, tokenizer: Any) -> RewardModel:
    """Wrap a model and tokenizer that are in memory already."""
    model.eval()
    positions = _positions(model.config, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return RewardModel(model, tokenizer, int(min(positions, tokenizer.model_max_length)), int(pad))


def _answered_chats(tokenizer: Any) -> ChatFormat:
    """How a reward model reads a chat: its template as it stands, save for a date that would change every day."""
    prints_today = "strftime_now" in str(tokenizer.chat_template)
    return ChatFormat(remove_date_lines=prints_today, add_generation_prompt=False, closes_answers=True)


def reward_model_identity(name: str, revision: str | None) -> str:
    """32 hex digits that stand for a reward model: its weights, configuration and tokenizer, wherever they lie.

    How the tokenizer cuts long texts is in neither, so it is added where it is not the model's own length, from the
    right; scores of other models keep the identity that they had in 0.1.0.
    """
    source = resolve_model(name, revision)
    tokenizer = load_tokenizer(source)
    parts = f"{model_fingerprint(source)} {tokenizer_fingerprint(tokenizer)}"
    config = read_config(source)
    if tokenizer.model_max_length < _positions(config, tokenizer) or tokenizer.truncation_side != "right":
        parts += f" {tokenizer.model_max_length} {tokenizer.truncation_side}"
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _positions(config: Any, tokenizer: Any) -> int:
    return int(getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length)
