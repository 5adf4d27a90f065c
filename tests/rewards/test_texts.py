"""Rewards that need only the text: by hand, on published texts, and on nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from latentext.rewards import Candidate, load_scorer, parse_reward, parse_rewards, score
from latentext.rewards.entries import WordsReward
from latentext.rewards.scoring import score_words
from latentext.rewards.texts import diversity, diversity_full_text, length, words_of


def test_words_keep_apostrophes_and_hyphens() -> None:
    assert words_of("It's a well-known café, isn’t it? 42!") == ["It's", "a", "well-known", "café", "isn’t", "it", "42"]


def test_length_counts_the_words_of_the_continuation_only() -> None:
    assert length(Candidate("one two", " three four, five")) == 3.0


def test_diversity_is_the_product_of_distinct_shares() -> None:
    # a b a b a b: 2 of 5 bigrams, 2 of 4 trigrams, 2 of 3 four-grams are distinct.
    assert diversity(Candidate("", "a b a b a b")) == pytest.approx(2 / 5 * 2 / 4 * 2 / 3)
    assert diversity(Candidate("a b a b", " one two three four.")) == 1.0
    assert diversity(Candidate("", "too short.")) == 0.0


def test_the_published_diversity_is_reproduced_up_to_its_word_splitter(materials: Path) -> None:
    """Source: wang8740/MAP's values, made with NLTK's tokenizer."""
    rows = json.loads((materials / "rewards" / "opt1.3b-Anthropic-harmless.json").read_text())
    found = np.array([diversity_full_text(Candidate("", row["generated"])) for row in rows])
    published = np.array([row["diversity"] for row in rows])
    assert np.abs(found - published).mean() < 0.015
    assert np.corrcoef(found, published)[0, 1] > 0.97
    same = [row for row in rows if not set("'’-\".,:/") & set(row["generated"])]  # Here both split alike.
    plain = np.array([diversity_full_text(Candidate("", row["generated"])) for row in same])
    agreeing = np.isclose(plain, [row["diversity"] for row in same], atol=1e-12)
    assert len(same) == 50
    assert agreeing.all()


def test_sentiment_is_vaders_compound_score_of_the_continuation() -> None:
    # Source: the examples in VADER's own documentation.
    texts = [
        "VADER is smart, handsome, and funny.",
        "VADER is VERY SMART, handsome, and FUNNY!!!",
        "VADER is not smart, handsome, nor funny.",
        "The book was good.",
    ]
    found = score([Candidate("This is terrible:", text) for text in texts], parse_rewards(["sentiment"]))
    assert found["sentiment"].round(4).tolist() == [0.8316, 0.9342, -0.7424, 0.4404]


@pytest.mark.parametrize("name", ["sentiment", "length", "diversity"])
def test_an_empty_continuation_scores_zero(name: str) -> None:
    assert load_scorer(parse_reward(name))([Candidate("A prompt of several words.", "  ")]).tolist() == [0.0]


def test_word_lists_weigh_words_whatever_their_case() -> None:
    reward = WordsReward(name="polite", words={"Please": 1, "damn": -2})
    assert score_words(reward, Candidate("please", " PLEASE go, damn pleases")) == pytest.approx((1 - 2) / 4)
    assert score_words(reward.model_copy(update={"per": "text"}), Candidate("", "please, please")) == 2.0
    assert score_words(reward, Candidate("please", "")) == 0.0


@pytest.mark.parametrize("word", ["two words", "", "c++", "hello!"])
def test_a_listed_word_that_can_never_be_found_is_refused(word: str) -> None:
    with pytest.raises(ValidationError, match="is not one word"):
        WordsReward(name="r", words=[word])
