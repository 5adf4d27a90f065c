"""Prompts against the published ones, and reviews cut at words."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.prompts.published import cut_at_word, dialogue_prompt, dialogue_row, is_long_enough, review_prompt
from latentext.prompts.rows import BadRow


def test_prompts_of_hh_rlhf_are_the_published_ones(materials: Path) -> None:
    """Source: the prompts of wang8740/MAP's result file, in the same order."""
    with gzip.open(materials / "prompts" / "hh-rlhf-harmless-base-test.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [dialogue_row(json.loads(line)["chosen"]) for line in file]
    published = json.loads((materials / "rewards" / "opt1.3b-Anthropic-harmless.json").read_text())
    assert found == [row["prompt"] for row in published]


@pytest.mark.parametrize(
    "dialogue", ["", "Human: no answer", "Assistant: no question", "Assistant: first. Human: then. Assistant: last."]
)
def test_a_dialogue_without_its_markers_has_no_prompt_and_says_why(dialogue: str) -> None:
    assert dialogue_prompt(dialogue) is None
    bad = dialogue_row(dialogue)
    assert isinstance(bad, BadRow)
    assert bad.reason == "no-prompt-marker"


def test_real_reviews_are_cut_at_words_between_20_and_30_characters(materials: Path) -> None:
    with (materials / "prompts" / "imdb-paired-dev.tsv").open(encoding="utf-8", newline="") as file:
        reviews = [row["Text"] for row in csv.DictReader(file, delimiter="\t") if is_long_enough(row["Text"])]
    prompts = [review_prompt(review, number, seed=3) for number, review in enumerate(reviews)]
    for prompt, review in zip(prompts, reviews, strict=True):
        assert len(prompt) <= 30
        assert review.startswith(prompt)
        assert review[len(prompt)] == " " or " " not in prompt
    assert len({len(prompt) for prompt in prompts}) > 5
    assert prompts != [review_prompt(review, number, seed=4) for number, review in enumerate(reviews)]


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_cut_is_a_beginning_within_its_length_that_breaks_no_second_word(text: str, length: int) -> None:
    cut = cut_at_word(text, length)
    assert text.startswith(cut)
    assert len(cut) <= length
    assert cut == text or " " not in cut.lstrip(" ") or text[len(cut)] == " "
