"""Rewards as a spec names them: a name that is known, a path to a function, or a mapping that says what it is.

rewards:
  - sentiment                                        # a name from `BUILT_IN`
  - my_rewards.py:exclamations                       # a function marked @reward("exclamations")
  - {name: polite, words: [please, thanks]}          # a word list, or weights: {please: 1, damn: -2}
  - {name: toxic, classifier: org/model, logit: 1}   # a Hugging Face classifier or regressor
  - {name: on-topic, embedding: org/model}           # cosine of two sentence embeddings
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from latentext.errors import SpecError
from latentext.rewards.functions import load_function
from latentext.rewards.texts import words_of
from latentext.spec import DType, Frozen

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}$")]
"""A reward's name; it becomes part of a folder's name."""


def _equal_weights(words: Any) -> Any:
    """A plain list of words: each weighs 1."""
    return dict.fromkeys(map(str, words), 1.0) if isinstance(words, list | tuple) else words


class FunctionReward(Frozen):
    """A Python function marked with @reward, by where it lives."""

    name: Name
    function: str


class WordsReward(Frozen):
    """Weighted words: the sum of the weights of the words found in the continuation.

    With ``per: word`` it is divided by the number of words, so that long texts gain nothing. Case is ignored.
    """

    name: Name
    words: Annotated[dict[str, float], BeforeValidator(_equal_weights), Field(min_length=1)]
    per: Literal["word", "text"] = "word"

    @field_validator("words")
    @classmethod
    def _single_words(cls, words: dict[str, float]) -> dict[str, float]:
        never_found = [word for word in words if words_of(word) != [word]]
        if never_found:
            raise ValueError(f"{never_found[0]!r} is not one word")
        return {word.casefold(): weight for word, weight in words.items()}


class ClassifierReward(Frozen):
    """A raw logit of a Hugging Face sequence classifier or regressor.

    `input` is what it reads: prompt and continuation as one text, the continuation alone, or the two as a pair, the
    first formatted by `question` (``{prompt}`` stands for the prompt). By default (auto) a model with a chat template
    reads the chat as that template writes it, the continuation as the assistant's answer; any other one text. Inputs
    beyond the model's length are truncated.
    """

    name: Name
    classifier: str
    logit: int = Field(default=0, ge=0)
    input: Literal["auto", "full_text", "continuation", "pair"] = "auto"
    question: str = "{prompt}"
    revision: str | None = None
    dtype: DType = "float32"

    @field_validator("question")
    @classmethod
    def _has_a_place_for_the_prompt(cls, question: str) -> str:
        if "{prompt}" not in question:
            raise ValueError("question has no {prompt}")
        return question


class EmbeddingReward(Frozen):
    """Cosine between the pooled outputs of a Hugging Face encoder for the prompt and for the continuation."""

    name: Name
    embedding: str
    revision: str | None = None
    dtype: DType = "float32"


class PerplexityReward(Frozen):
    """Negative mean negative log-likelihood, in nats a token, under the model that wrote the texts.

    `perplexity` is what the mean runs over: the continuation's tokens (the end token included), or prompt and
    continuation re-encoded as one text, as published with MAP.
    """

    name: Name
    perplexity: Literal["continuation", "full_text"] = "continuation"


Entry = str | Mapping[str, Any]
"""A reward as a spec names it."""

Reward = FunctionReward | WordsReward | ClassifierReward | EmbeddingReward | PerplexityReward

_KINDS: dict[str, type[Frozen]] = {
    "function": FunctionReward,
    "words": WordsReward,
    "classifier": ClassifierReward,
    "embedding": EmbeddingReward,
    "perplexity": PerplexityReward,
}

_RAY_QUESTION = "\n\nHuman: {prompt} \n\nAssistant:"

_ALL_BUILT_IN: tuple[Reward, ...] = (
    FunctionReward(name="sentiment", function="latentext.rewards.sentiment:sentiment"),
    FunctionReward(name="length", function="latentext.rewards.texts:length"),
    FunctionReward(name="diversity", function="latentext.rewards.texts:diversity"),
    FunctionReward(name="diversity-full-text", function="latentext.rewards.texts:diversity_full_text"),
    PerplexityReward(name="perplexity"),
    PerplexityReward(name="perplexity-full-text", perplexity="full_text"),
    ClassifierReward(name="humor", classifier="mohameddhiab/humor-no-humor", logit=1),
    ClassifierReward(name="positive", classifier="lvwerra/distilbert-imdb", logit=1),
    ClassifierReward(
        name="gpt2-helpful",
        classifier="Ray2333/gpt2-large-helpful-reward_model",
        input="pair",
        question=_RAY_QUESTION,
    ),
    ClassifierReward(
        name="gpt2-harmless",
        classifier="Ray2333/gpt2-large-harmless-reward_model",
        input="pair",
        question=_RAY_QUESTION,
    ),
    ClassifierReward(name="harmless", classifier="OpenAssistant/reward-model-deberta-v3-large-v2", input="pair"),
    EmbeddingReward(name="coherence", embedding="princeton-nlp/sup-simcse-bert-base-uncased"),
)

BUILT_IN: Mapping[str, Reward] = {entry.name: entry for entry in _ALL_BUILT_IN}
"""Rewards that are known by name."""


def parse_reward(entry: str | Mapping[str, Any]) -> Reward:
    """Read one entry of a spec's `rewards`.

    Raises:
        SpecError: an unknown name (with the nearest known ones), a mapping that says not exactly one kind, or a field
            that does not fit.

    Example:
        >>> parse_reward("humor").classifier
        'mohameddhiab/humor-no-humor'
        >>> parse_reward({"name": "polite", "words": ["please", "thanks"]}).words
        {'please': 1.0, 'thanks': 1.0}
    """
    if isinstance(entry, str):
        return _parse_name(entry)
    kinds = [kind for kind in _KINDS if kind in entry]
    if len(kinds) != 1:
        raise SpecError(
            f"a reward is one of {', '.join(_KINDS)}, not {' and '.join(kinds) or 'none'}",
            where=f"rewards: {dict(entry)}",
        )
    try:
        return _KINDS[kinds[0]].model_validate(dict(entry))  # type: ignore[return-value]
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise SpecError(f"{field}: {first['msg']}", where=f"reward {entry.get('name', '?')}") from error


def parse_rewards(entries: Iterable[str | Mapping[str, Any]]) -> tuple[Reward, ...]:
    """Read all entries.

    Raises:
        SpecError: as `parse_reward`, or two rewards of one name.
    """
    rewards = tuple(parse_reward(entry) for entry in entries)
    names = [found.name for found in rewards]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"two rewards are named {twice!r}", where="rewards", remedy="give one of them another name")
    return rewards


def known_name(entry: str | Mapping[str, Any]) -> str | None:
    """The name of a reward as its entry tells it; None where only the Python file that the entry names would.

    Example:
        >>> known_name("length"), known_name({"name": "polite", "words": ["please"]}), known_name("mine.py:polite")
        ('length', 'polite', None)
    """
    if isinstance(entry, str):
        return entry if entry in BUILT_IN or ":" not in entry else None
    name = entry.get("name")
    return name if isinstance(name, str) else None


def names_code(entry: str | Mapping[str, Any]) -> bool:
    """Whether making the scores of this entry runs Python that is not latentext's own.

    Example:
        >>> names_code("length"), names_code("mine.py:polite"), names_code({"name": "a", "function": "mine:polite"})
        (False, True, True)
    """
    function = entry if isinstance(entry, str) else entry.get("function")
    if function is None or function in BUILT_IN:
        return False
    ours = {reward.function for reward in BUILT_IN.values() if isinstance(reward, FunctionReward)}
    return not isinstance(function, str) or (":" in function and function not in ours)


def _parse_name(name: str) -> Reward:
    if name in BUILT_IN:
        return BUILT_IN[name]
    if ":" in name:
        return FunctionReward(name=load_function(name).reward_name, function=name)  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, BUILT_IN, n=3)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(BUILT_IN)}"
    raise SpecError(f"unknown reward {name!r}", where="rewards", remedy=remedy)
