"""What decides a reward's numbers, and the name that follows from it: ``humor-1f3a9c02``.

Scores are kept under that name and may be reused wherever it is the same. So it hangs on everything that can change a
number (weights, tokenizer, input format, dtype, a function's source, a library's version) and on nothing else: a reward
renamed keeps its hash, a model moved to another folder keeps it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from latentext.dataset.sealed import canonical_json
from latentext.errors import SpecError
from latentext.models.resolve import resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.rewards.classifier import input_form
from latentext.rewards.encoding import reward_model_identity
from latentext.rewards.entries import ClassifierReward, EmbeddingReward, FunctionReward, PerplexityReward, Reward
from latentext.rewards.functions import function_identity, load_function

_VERSION = 1
"""Of the formulas in this package: raised when one of them changes."""


def reward_settings(reward: Reward, generator_identity: str | None = None) -> dict[str, Any]:
    """What decides a reward's numbers, as JSON values.

    Args:
        generator_identity: stands for the model that wrote the texts, which perplexity depends on.

    Raises:
        SpecError: the reward's model or function cannot be found, or perplexity without a generator.
        CredentialsError: its model is gated.

    Example:
        >>> from latentext.rewards.entries import parse_reward
        >>> reward_settings(parse_reward("length"))
        {'version': 1, 'function': 'version 1'}
    """
    settings: dict[str, Any] = {"version": _VERSION, **reward.model_dump(exclude={"name"})}
    if isinstance(reward, FunctionReward):
        settings["function"] = function_identity(load_function(reward.function))
    elif isinstance(reward, ClassifierReward):
        settings["classifier"] = reward_model_identity(reward.classifier, reward.revision)
        if reward.input == "auto":
            settings["input"] = input_form(reward, load_tokenizer(resolve_model(reward.classifier, reward.revision)))
    elif isinstance(reward, EmbeddingReward):
        settings["embedding"] = reward_model_identity(reward.embedding, reward.revision)
    elif isinstance(reward, PerplexityReward):
        if generator_identity is None:
            raise SpecError(f"reward {reward.name} depends on the model that wrote the texts, which is not known")
        settings["generator"] = generator_identity
    settings.pop("revision", None)  # It only says where to find what the identity stands for.
    return settings


def score_name(name: str, settings: Mapping[str, Any]) -> str:
    """The reward's name and 8 hex digits of what decides it.

    Example:
        >>> score_name("length", {"version": 1})
        'length-50208d78'
    """
    return f"{name}-{hashlib.sha256(canonical_json(dict(settings))).hexdigest()[:8]}"
