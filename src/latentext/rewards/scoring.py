"""Score candidates by any number of rewards: each text once, one model in memory at a time.

Rewards are scored one after the other, and a reward's model is gone before the next one loads, so the largest model
alone decides the memory. Whoever scores shard by shard and has room for a model keeps it with `load_scorer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latentext.engines.transformers.loading import choose_device
from latentext.errors import LatentextError
from latentext.rewards.candidate import Candidate
from latentext.rewards.classifier import load_classifier
from latentext.rewards.embedding import load_embedding
from latentext.rewards.encoding import RewardModel
from latentext.rewards.entries import ClassifierReward, EmbeddingReward, PerplexityReward, Reward, WordsReward
from latentext.rewards.functions import RewardFunction, load_function
from latentext.rewards.identity import reward_settings, score_name
from latentext.rewards.perplexity import PerplexityScorer
from latentext.rewards.texts import words_of

Scorer = Callable[[Sequence[Candidate]], NDArray[np.float64]]
"""Candidates → one raw number each, float64 [candidates]. Its result for a text does not depend on the others."""

Cache = MutableMapping[tuple[str, str], float]
"""Scores by (`score_name`, candidate key): a dictionary, or anything on a disk that acts like one."""

TOKEN_BUDGET = 8192
"""Tokens in a batch of a reward model, padding counted."""


def score(
    candidates: Sequence[Candidate],
    rewards: Iterable[Reward],
    *,
    generator: RewardModel | None = None,
    generator_identity: str | None = None,
    device: str = "auto",
    token_budget: int = TOKEN_BUDGET,
    cache: Cache | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Raw scores of candidates by each reward, with one reward model in memory at a time.

    Args:
        generator: the model that wrote the texts, for perplexity (see `latentext.rewards.encoding.reward_model_from`).
        generator_identity: what stands for it; required for perplexity when there is a cache.
        device: where reward models run; ``auto`` is the first of cuda, mps, cpu that is there.
        token_budget: tokens in a batch.
        cache: scores of earlier calls, read and filled.

    Returns:
        float64 [candidates] by reward name. What a reward returns is kept, NaN too: a bank refuses those by name.

    Raises:
        LatentextError: a reward's model does not load, or a function fails; the reward is named.

    Example:
        >>> from latentext.rewards.entries import parse_rewards
        >>> texts = [Candidate("The film was", " lovely."), Candidate("The film was", " awful and boring.")]
        >>> {name: values.round(1).tolist() for name, values in score(texts, parse_rewards(["length"])).items()}
        {'length': [1.0, 3.0]}
    """
    keys = [candidate.key for candidate in candidates]
    known: Cache = {} if cache is None else cache
    found: dict[str, NDArray[np.float64]] = {}
    for reward in rewards:
        # Hashing a model's weights takes a while: without a cache nobody asks for the reward's identity.
        name = reward.name if cache is None else score_name(reward.name, reward_settings(reward, generator_identity))
        missing = {key: text for key, text in zip(keys, candidates, strict=True) if (name, key) not in known}
        if missing:
            scorer = load_scorer(reward, generator=generator, device=device, token_budget=token_budget)
            scores = scorer(list(missing.values())).tolist()
            del scorer  # The next reward's model must not load beside this one.
            known.update({(name, key): value for key, value in zip(missing, scores, strict=True)})
        found[reward.name] = np.array([known[name, key] for key in keys], dtype=np.float64)
    return found


def load_scorer(
    reward: Reward, *, generator: RewardModel | None = None, device: str = "auto", token_budget: int = TOKEN_BUDGET
) -> Scorer:
    """What scores candidates by one reward; its model, if it has one, stays in memory as long as the scorer.

    Raises:
        SpecError: the model or function that the reward names is not there.
        CredentialsError: the model is gated.
    """
    if isinstance(reward, ClassifierReward):
        return load_classifier(reward, choose_device(device), token_budget)
    if isinstance(reward, EmbeddingReward):
        return load_embedding(reward, choose_device(device), token_budget)
    if isinstance(reward, PerplexityReward):
        return PerplexityScorer(reward, generator, token_budget)
    if isinstance(reward, WordsReward):
        return _one_by_one(lambda candidate: score_words(reward, candidate), reward.name)
    return _one_by_one(load_function(reward.function), reward.name)


def _one_by_one(function: RewardFunction, name: str) -> Scorer:
    """Score each candidate by a function; whatever it raises is told with the reward and the text it came from."""

    def scorer(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        scores = np.empty(len(candidates))
        for place, candidate in enumerate(candidates):
            try:
                scores[place] = function(candidate)
            except Exception as error:
                raise LatentextError(
                    f"reward {name} failed on the text {candidate.text[:60]!r}: {type(error).__name__}: {error}",
                    remedy="a reward function takes a Candidate and returns a number",
                ) from error
        return scores

    return scorer


def score_words(reward: WordsReward, candidate: Candidate) -> float:
    """Sum of the weights of the listed words in the continuation, a word or a text; an empty continuation scores 0.

    Example:
        >>> polite = WordsReward(name="polite", words={"please": 1, "damn": -2})
        >>> score_words(polite, Candidate("", "Please, please go!"))
        0.6666666666666666
    """
    words = [word.casefold() for word in words_of(candidate.text)]
    total = sum(reward.words.get(word, 0.0) for word in words)
    return total / len(words) if reward.per == "word" and words else total
