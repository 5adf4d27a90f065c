"""Prompts against the published ones, and reviews cut at words."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.align.prompts import cut_at_word, dialogue_prompt, dialogue_prompts, review_prompts
from latentext.request import Failure


def test_prompts_of_hh_rlhf_are_the_published_ones(materials: Path) -> None:
    """Source: the prompts of wang8740/MAP's result file, in the same order."""
    with gzip.open(materials / "prompts" / "hh-rlhf-harmless-base-test.jsonl.gz", "rt", encoding="utf-8") as file:
        found = list(dialogue_prompts(json.loads(line)["chosen"] for line in file))
    published = json.loads((materials / "rewards" / "opt1.3b-Anthropic-harmless.json").read_text())
    assert found == [row["prompt"] for row in published]


@pytest.mark.parametrize(
    "dialogue", ["", "Human: no answer", "Assistant: no question", "Assistant: first. Human: then. Assistant: last."]
)
def test_a_dialogue_without_its_markers_gives_a_failure_that_names_it(dialogue: str) -> None:
    assert dialogue_prompt(dialogue) is None
    good, bad = dialogue_prompts(["Human: hello\n\nAssistant: hi", dialogue])
    assert good == "hello"
    assert isinstance(bad, Failure)
    assert (bad.index, bad.reason) == (1, "no-prompt-marker")


def test_real_reviews_are_cut_at_words_between_20_and_30_characters(materials: Path) -> None:
    with (materials / "prompts" / "imdb-paired-dev.tsv").open(encoding="utf-8", newline="") as file:
        reviews = [row["Text"] for row in csv.DictReader(file, delimiter="\t")]
    prompts = list(review_prompts(reviews, seed=3))
    long_reviews = [review for review in reviews if len(review) > 30]
    assert len(prompts) == len(long_reviews)
    for prompt, review in zip(prompts, long_reviews, strict=True):
        assert len(prompt) <= 30
        assert review.startswith(prompt)
        assert review[len(prompt)] == " " or " " not in prompt
    assert len({len(prompt) for prompt in prompts}) > 5
    assert prompts != list(review_prompts(reviews, seed=4))


def test_a_cut_depends_neither_on_later_reviews_nor_on_short_ones() -> None:
    reviews = [f"Review number {i} of a film that nobody has ever seen to its end." for i in range(20)]
    some = list(islice(review_prompts(reviews), 5))
    assert some == list(review_prompts(["short", *reviews[:5]]))


def test_at_most_the_limit_of_reviews_is_used() -> None:
    review = "A review that is longer than thirty characters."
    assert len(list(review_prompts([review] * 1200))) == 1000
    assert len(list(review_prompts([review] * 12, limit=7))) == 7
    assert list(review_prompts([review[:30]])) == []


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_cut_is_a_beginning_within_its_length_that_breaks_no_second_word(text: str, length: int) -> None:
    cut = cut_at_word(text, length)
    assert text.startswith(cut)
    assert len(cut) <= length
    assert cut == text or " " not in cut.lstrip(" ") or text[len(cut)] == " "
