"""Pairs under real tokenizers; expected numbers are measured facts of ../shared/materials/README.md."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from latentext.errors import SpecError
from latentext.studies.pairs import BARE, PairCheck, PairTokenizer, Reason, load_task, validate_pairs, validate_texts

Tokenizers = tuple[PairTokenizer, ...]


def check(pair: tuple[Any, Any], tokenizers: Tokenizers, **options: Any) -> PairCheck:
    [result] = validate_pairs([pair], tokenizers, load_task("refusal").forms, **options)
    return result


@pytest.mark.parametrize(
    ("pair", "single", "multi"),
    [
        (("Help me make a cake", "Help me make a bomb"), (26, 26, 29), (6, 6, 6)),
        (("Write a friendly email", "Write a threatening email"), (25, 25, 28), (5, 5, 5)),
    ],
)
def test_golden_pairs_are_valid_with_the_measured_lengths(
    pair: tuple[str, str], single: tuple[int, ...], multi: tuple[int, ...], tokenizers: Tokenizers
) -> None:
    result = check(pair, tokenizers)
    assert result.valid
    assert [form.lengths for form in result.checks if form.form == "single_token"] == [(n, n) for n in single]
    assert [form.lengths for form in result.checks if form.form == "multi_token"] == [(n, n) for n in multi]
    assert all(len(form.positions) == 1 for form in result.checks)


def test_the_pair_that_looks_right_differs_in_two_tokens_or_in_length(tokenizers: Tokenizers) -> None:
    result = check(("Help me bake a cake", "Help me make a bomb"), tokenizers)
    single = {form.tokenizer: form for form in result.checks if form.form == "single_token"}
    assert single["qwen2"].reason is single["llama3"].reason is Reason.SEVERAL_DIFFERENCES
    assert len(single["qwen2"].positions) == len(single["llama3"].positions) == 2
    assert single["mistral"].lengths == (30, 29)
    assert single["mistral"].reason is Reason.LENGTH
    assert result.reason is Reason.SEVERAL_DIFFERENCES


def test_published_pairs_hold_as_often_as_measured(materials: Path, tokenizers: Tokenizers) -> None:
    rows = map(json.loads, (materials / "pairs" / "simple_train.json").read_text().splitlines())
    results = list(validate_pairs(((row["clean_prefix"], row["patch_prefix"]) for row in rows), tokenizers, (BARE,)))
    valid = [sum(result.checks[number].reason is None for result in results) for number in range(3)]
    assert (len(results), valid, sum(result.valid for result in results)) == (480, [413, 413, 316], 316)


def test_the_differing_token_is_given_with_its_place_ids_and_text(tokenizers: Tokenizers) -> None:
    result = check(("Help me make a cake", "Help me make a bomb"), tokenizers)
    for form in result.checks:
        tokenizer = next(found for found in tokenizers if found.name == form.tokenizer)
        texts = result.texts[form.form]
        ids = [tokenizer.backend.encode(text, add_special_tokens=False).ids for text in texts]
        [position], [(first, second)] = form.positions, form.token_ids
        assert (ids[0][position], ids[1][position]) == (first, second)
        assert ids[0][:position] == ids[1][:position]
        assert ids[0][position + 1 :] == ids[1][position + 1 :]
        assert form.tokens == ((" cake", " bomb"),)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (("make a cake", "make a cake."), Reason.IDENTICAL),
        (("make a cake", " make a cake..."), Reason.IDENTICAL),
        (("", "make a cake"), Reason.EMPTY),
        (("make a cake", " . "), Reason.EMPTY),
        ((None, "make a cake"), Reason.NOT_A_STRING),
        (("make a cake", "make a \ud83d"), Reason.NOT_A_STRING),
        (("make a cake", ["make a bomb"]), Reason.NOT_A_STRING),
        (("make a cake", "make a very big cake"), Reason.LENGTH),
        (("make a cake", "make the bomb"), Reason.SEVERAL_DIFFERENCES),
    ],
)
def test_every_invalid_pair_has_one_reason(pair: tuple[Any, Any], reason: Reason, tokenizers: Tokenizers) -> None:
    assert check(pair, tokenizers).reason is reason


def test_texts_that_only_the_tokenizer_makes_equal_are_told_apart_from_identical_ones(tokenizers: Tokenizers) -> None:
    composed, decomposed = "a caf\u00e9", "a cafe\u0301"
    qwen = [tokenizer for tokenizer in tokenizers if tokenizer.name == "qwen2"]  # Qwen2 normalises to NFC.
    assert check((composed, decomposed), tuple(qwen)).reason is Reason.SAME_IDS


def test_without_tokenizers_nothing_is_called_valid() -> None:
    with pytest.raises(SpecError, match="no tokenizer is given"):
        check(("make a cake", "make a bomb"), ())


def test_the_normalised_mark_shows_in_the_result(tokenizers: Tokenizers) -> None:
    assert check(("make a cake..", "make a bomb"), tokenizers).texts["multi_token"] == ("make a cake.", "make a bomb.")


def test_bad_pairs_among_many_disturb_no_other(tokenizers: Tokenizers) -> None:
    good, bad = ("Help me make a cake", "Help me make a bomb"), (None, "")
    pairs = [good if number % 3 else bad for number in range(2500)]  # More than two chunks.
    results = list(validate_pairs(pairs, tokenizers, load_task("refusal").forms))
    assert [result.valid for result in results] == [bool(number % 3) for number in range(2500)]


def test_results_come_before_the_pairs_end(tokenizers: Tokenizers) -> None:
    taken = 0

    def pairs() -> Any:
        nonlocal taken
        for taken in range(100_000):
            yield f"number {taken}", f"figure {taken}"

    results = validate_pairs(pairs(), tokenizers[:1])
    assert next(results).valid
    assert taken < 10_000
    results.close()


def test_same_word_asks_for_the_same_word_in_every_form(tokenizers: Tokenizers) -> None:
    pair = {"first": ("They saw cakes", "They saw bombs"), "second": ("They saw a cake", "They saw a bomb")}
    [loose] = validate_texts([pair], tokenizers[:1])
    [strict] = validate_texts([pair], tokenizers[:1], same_word=True)
    assert loose.valid
    assert strict.reason is Reason.DIFFERENT_WORDS
    assert "cakes" in strict.describe()


def test_a_failure_is_described_with_tokenizer_lengths_and_tokens(tokenizers: Tokenizers) -> None:
    described = check(("Help me bake a cake", "Help me make a bomb"), tokenizers).describe()
    assert described == (
        "qwen2, single_token: 2 of 26 tokens differ: ' bake'/' make', ' cake'/' bomb' (several-differences)"
    )
    mistral = tuple(tokenizer for tokenizer in tokenizers if tokenizer.name == "mistral")
    described = check(("Help me bake a cake", "Help me make a bomb"), mistral).describe()
    assert described == "mistral, single_token: 30 and 29 tokens (length)"


def test_debug_logging_prints_lengths_and_ids_of_every_pair(
    tokenizers: Tokenizers, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="latentext.studies.pairs"):
        check(("Help me make a cake", "Help me make a bomb"), tokenizers)
    assert "qwen2, single_token: lengths 26 and 26, positions (21,), ids ((19145, 12764),)" in caplog.text
