"""Splits that keep a word, a frame or a topic on one side."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest

from latentext.errors import SpecError
from latentext.spec import SplitSpec
from latentext.studies.pairs import PairTokenizer, Scenario, load_bank, load_task, split_scenarios, substitute


@pytest.fixture(scope="module")
def scenarios(tokenizers: tuple[PairTokenizer, ...]) -> list[Scenario]:
    return substitute(load_task("refusal"), load_bank("refusal"), tokenizers, 600)


@pytest.mark.parametrize(
    ("by", "group"),
    [
        ("word", lambda scenario: set(scenario.words)),
        ("frame", lambda scenario: {scenario.frame}),
        ("topic", lambda scenario: {scenario.topic}),
        ("scenario", lambda scenario: {scenario.scenario_id}),
    ],
)
def test_no_group_is_on_two_sides(by: str, group: Callable[[Scenario], set[object]], scenarios: list[Scenario]) -> None:
    parts = split_scenarios(scenarios, SplitSpec(by=by, val=0.1, test=0.15))
    assert sorted(scenario.scenario_id for part in parts.values() for scenario in part) == list(range(600))
    groups = {name: set[object]().union(*map(group, part)) for name, part in parts.items()}
    for first, second in combinations(groups, 2):
        assert groups[first].isdisjoint(groups[second])


@pytest.mark.parametrize("by", ["word", "frame", "scenario"])
def test_the_shares_are_of_scenarios_and_never_exceeded(by: str, scenarios: list[Scenario]) -> None:
    parts = split_scenarios(scenarios, SplitSpec(by=by, val=0.1, test=0.2))
    assert 0.8 * 60 <= len(parts["val"]) <= 60
    assert 0.8 * 120 <= len(parts["test"]) <= 120


def test_a_split_depends_on_the_seed_and_on_nothing_else(scenarios: list[Scenario]) -> None:
    def val(rows: list[Scenario], seed: int) -> set[int]:
        return {scenario.scenario_id for scenario in split_scenarios(rows, SplitSpec(by="frame", seed=seed))["val"]}

    assert val(scenarios, 1) == val(scenarios[::-1], 1)
    assert val(scenarios, 1) != val(scenarios, 2)


def test_scenarios_keep_their_order(scenarios: list[Scenario]) -> None:
    for part in split_scenarios(scenarios, SplitSpec(by="word", val=0.2)).values():
        numbers = [scenario.scenario_id for scenario in part]
        assert numbers == sorted(numbers)


def test_a_split_that_cannot_be_is_refused_with_the_numbers() -> None:
    twins = [("a cake", "a bomb"), ("a pie", "a bomb"), ("a pie", "a gun")]
    rows = [Scenario(number, "t", {"multi_token": twin}) for number, twin in enumerate(twins)]
    with pytest.raises(SpecError, match="leaves val empty: 3 scenarios in 1 groups by word, the largest with 3"):
        split_scenarios(rows, SplitSpec(by="word", val=0.4))
    with pytest.raises(SpecError, match="cannot be split by 'author'"):
        split_scenarios(rows, SplitSpec(by="author"))
    with pytest.raises(SpecError, match="scenario 0 has no topic"):
        split_scenarios(rows, SplitSpec(by="topic"))
