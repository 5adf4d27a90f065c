"""Sets made from word banks: valid, even, and the same for the same seed."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from latentext.errors import SpecError
from latentext.studies.pairs import (
    PairTokenizer,
    Scenario,
    WordBank,
    choose,
    load_bank,
    load_task,
    screen,
    substitute,
    validate_texts,
)

TASKS = ("refusal", "sentiment")
Tokenizers = tuple[PairTokenizer, ...]


@pytest.fixture(scope="module", params=TASKS)
def scenarios(request: pytest.FixtureRequest, tokenizers: Tokenizers) -> list[Scenario]:
    return substitute(load_task(request.param), load_bank(request.param), tokenizers, 1500)


@pytest.mark.parametrize("name", TASKS)
def test_the_shipped_banks_are_large_after_the_screen(name: str, tokenizers: Tokenizers) -> None:
    screened = screen(load_task(name), load_bank(name), tokenizers)
    assert len({found.candidate.frame for found in screened}) >= 40
    assert len({found.candidate.words for found in screened}) >= 300
    assert len({found.candidate.topic for found in screened}) >= 12


@pytest.mark.parametrize("name", TASKS)
def test_no_shipped_word_pair_is_dead(name: str, tokenizers: Tokenizers) -> None:
    bank = load_bank(name)
    alive = {found.candidate for found in screen(load_task(name), bank, tokenizers)}
    dead = {candidate.words for candidate in bank.candidates()} - {candidate.words for candidate in alive}
    assert dead == set()


def test_all_of_1500_scenarios_are_valid_with_one_word_differing(
    scenarios: list[Scenario], tokenizers: Tokenizers
) -> None:
    checks = list(validate_texts((scenario.texts for scenario in scenarios), tokenizers, same_word=True))
    assert len(checks) == 1500
    assert all(check.valid for check in checks)
    for scenario, check in zip(scenarios, checks, strict=True):
        assert {(a.strip(), b.strip()) for form in check.checks for a, b in form.tokens} == {scenario.words}


def test_a_set_is_balanced_and_nothing_stands_in_too_much_of_it(scenarios: list[Scenario]) -> None:
    frames = Counter(scenario.frame for scenario in scenarios)
    words = Counter(word for scenario in scenarios for word in scenario.words)
    topics = Counter(scenario.topic for scenario in scenarios)
    assert max(frames.values()) <= 0.05 * len(scenarios)
    assert max(words.values()) <= 0.02 * len(scenarios)
    assert len(topics) >= 12
    assert max(topics.values()) <= 2 * len(scenarios) / len(topics)


def test_no_pair_stands_twice(scenarios: list[Scenario]) -> None:
    assert len({tuple(scenario.texts["multi_token"]) for scenario in scenarios}) == len(scenarios)
    assert [scenario.scenario_id for scenario in scenarios] == list(range(1500))


def test_the_same_seed_gives_the_same_set_and_another_seed_another(tokenizers: Tokenizers) -> None:
    task, bank = load_task("refusal"), load_bank("refusal")
    first, again = (substitute(task, bank, tokenizers, 100, seed=7) for _ in range(2))
    other = substitute(task, bank, tokenizers, 100, seed=8)
    assert first == again
    assert {scenario.texts["multi_token"] for scenario in first} != {
        scenario.texts["multi_token"] for scenario in other
    }


def test_words_that_are_not_one_token_never_get_through(tokenizers: Tokenizers) -> None:
    bank = WordBank.model_validate(
        {
            "task_name": "refusal",
            "slots": {"a": {"meaning": "a thing", "frames": ["Help me make a {}"]}},
            "words": {"things": {"a": ["cake/bomb", "cupcake/bomb", "cupcake/firebomb", "shortcake/cheesecake"]}},
        }
    )
    assert [found.candidate.words for found in screen(load_task("refusal"), bank, tokenizers)] == [("cake", "bomb")]
    with pytest.raises(SpecError) as raised:
        substitute(load_task("refusal"), bank, tokenizers, 2)
    assert "2 scenarios cannot be made, only 1" in str(raised.value)


def test_the_number_that_can_be_made_is_one_that_can_be_made(tokenizers: Tokenizers) -> None:
    task, bank = load_task("refusal"), load_bank("refusal")
    screened = screen(task, bank, tokenizers)
    with pytest.raises(SpecError) as raised:
        choose(screened, 4000)
    found = re.search(r"cannot be made, only (\d+): .*; ask for \1,", str(raised.value))
    assert found is not None
    assert len(choose(screened, int(found[1]))) == int(found[1])


def test_a_bank_of_another_task_is_refused(tokenizers: Tokenizers) -> None:
    with pytest.raises(SpecError, match="the bank is for the task 'sentiment', not 'refusal'"):
        substitute(load_task("refusal"), load_bank("sentiment"), tokenizers, 1)
