"""Perplexity under a real pretrained model: against transformers' own loss, and by recorded values."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from latentext.errors import SpecError
from latentext.rewards import Candidate
from latentext.rewards.encoding import RewardModel, reward_model_from
from latentext.rewards.entries import PerplexityReward
from latentext.rewards.perplexity import PerplexityScorer

TEXTS = [
    ("Once upon a time", ", there was a little girl named Lily. She loved to play outside."),
    ("Tom had a ball.", " He"),
    ("", "One day, a dog saw a big tree."),
    ("The sun was", " hot and the sky was blue." * 4),
]


@pytest.fixture(scope="module")
def stories(stories260k: Path) -> RewardModel:
    return reward_model_from(
        AutoModelForCausalLM.from_pretrained(stories260k), AutoTokenizer.from_pretrained(stories260k)
    )


@pytest.fixture(scope="module")
def candidates(stories: RewardModel) -> list[Candidate]:
    found = []
    for prompt, text in TEXTS:
        prompt_ids = tuple(stories.tokenizer(prompt)["input_ids"])
        ids = tuple(stories.tokenizer(text, add_special_tokens=False)["input_ids"])
        found.append(Candidate(prompt, text, prompt_token_ids=prompt_ids, token_ids=ids))
    return found


def _loss(stories: RewardModel, ids: list[int], scored: int) -> float:
    """Transformers' own loss over the last `scored` tokens of one text."""
    labels = torch.tensor([[-100] * (len(ids) - scored) + ids[-scored:]])
    with torch.no_grad():
        return float(stories.model(input_ids=torch.tensor([ids]), labels=labels).loss)


@pytest.mark.parametrize("token_budget", [1, 60, 10_000])
def test_the_continuations_likelihood_equals_transformers_loss(
    stories: RewardModel, candidates: list[Candidate], token_budget: int
) -> None:
    found = PerplexityScorer(PerplexityReward(name="p"), stories, token_budget)(candidates)
    expected = [-_loss(stories, [*c.prompt_token_ids, *c.token_ids], len(c.token_ids)) for c in candidates]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("token_budget", [1, 10_000])
def test_the_full_texts_likelihood_equals_the_published_formula(
    stories: RewardModel, candidates: list[Candidate], token_budget: int
) -> None:
    """As MAP's package: the loss of the re-encoded full text with all its tokens as labels."""
    scorer = PerplexityScorer(PerplexityReward(name="p", perplexity="full_text"), stories, token_budget)
    expected = []
    for candidate in candidates:
        ids = stories.tokenizer(candidate.prompt + candidate.text)["input_ids"]
        expected.append(-_loss(stories, ids, len(ids) - 1))
    np.testing.assert_allclose(scorer(candidates), expected, rtol=1e-5)


def test_long_texts_are_summed_in_pieces(stories: RewardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tuple(stories.tokenizer("The sun was hot. " * 8)["input_ids"])
    scorer = PerplexityScorer(PerplexityReward(name="p"), stories, 10_000)
    whole = scorer([Candidate("", "", prompt_token_ids=ids[:1], token_ids=ids[1:])])
    monkeypatch.setattr("latentext.rewards.perplexity._ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(
        scorer([Candidate("", "", prompt_token_ids=ids[:1], token_ids=ids[1:])]), whole, rtol=1e-6
    )


def test_a_story_is_likelier_than_noise(stories: RewardModel) -> None:
    scorer = PerplexityScorer(PerplexityReward(name="p"), stories, 10_000)
    story, noise = scorer([Candidate("Once upon a time", ", there was a girl."), Candidate("Once", " zq vx kk @ pwj")])
    assert story > noise + 1


def test_texts_without_ids_are_encoded(stories: RewardModel, candidates: list[Candidate]) -> None:
    scorer = PerplexityScorer(PerplexityReward(name="p"), stories, 10_000)
    bare = [Candidate(c.prompt, c.text) for c in candidates]
    np.testing.assert_allclose(scorer(bare), scorer(candidates), rtol=1e-6)


def test_recorded_log_probabilities_need_no_model() -> None:
    scorer = PerplexityScorer(PerplexityReward(name="p"), None, 10_000)
    assert scorer([Candidate("a", "b", token_ids=(1, 2), logprobs=(-1.0, -2.0))]).tolist() == [-1.5]
    with pytest.raises(SpecError, match=r"reward p needs the model that wrote the texts; record decoding\.logprobs"):
        scorer([Candidate("a", "b", token_ids=(1, 2), logprobs=(-1.0, -2.0)), Candidate("a", "b")])


def test_recorded_and_computed_values_stand_in_their_places(stories: RewardModel, candidates: list[Candidate]) -> None:
    scorer = PerplexityScorer(PerplexityReward(name="p"), stories, 10_000)
    mixed = [candidates[0], Candidate("a", "b", token_ids=(1,), logprobs=(-7.0,)), candidates[1]]
    alone = scorer(candidates[:2])
    np.testing.assert_allclose(scorer(mixed), [alone[0], -7.0, alone[1]], rtol=1e-6)


@pytest.mark.parametrize("form", ["continuation", "full_text"])
def test_an_empty_text_is_scored_as_its_end_token(stories: RewardModel, form: str) -> None:
    scorer = PerplexityScorer(PerplexityReward(name="p", perplexity=form), stories, 10_000)
    expected = -_loss(stories, [stories.tokenizer.bos_token_id, stories.end_token_id], 1)
    assert scorer([Candidate("", "")])[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", ["continuation", "full_text"])
def test_a_text_longer_than_the_context_is_scored_on_what_fits(stories: RewardModel, form: str) -> None:
    scorer = PerplexityScorer(PerplexityReward(name="p", perplexity=form), stories, 10_000)
    [found] = scorer([Candidate("Once upon a time" * 300, " there was a girl")])
    assert math.isfinite(found)
    assert found < 0
