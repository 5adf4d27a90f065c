"""The four ways to say a target, and what none of them is."""

from __future__ import annotations

import numpy as np
import pytest

from latentext.errors import ArgumentError, SpecError
from latentext.studies.align import Bank, Target, parse_target, parse_targets, target_levels


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("2.46", Target("level", 2.46)),
        ("-3.337", Target("level", -3.337)),
        (0.5, Target("level", 0.5)),
        ("+0.4", Target("shift", 0.4)),
        ("+.5sd", Target("deviations", 0.5)),
        ("-0.5sd", Target("deviations", -0.5)),
        ("1e-1sd", Target("deviations", 0.1)),
        ("80%", Target("quantile", 0.8)),
        (" +2 ", Target("shift", 2.0)),
    ],
)
def test_a_target_is_read(text: str | float, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text", ["", "high", "0.5 sd", "nan", "inf", "+80%", "120%", "1,5", "--1", "1e400", "-1e400sd", "1e101"]
)
def test_what_is_no_target_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ArgumentError, match="not a"):
        parse_target(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1e308])
def test_a_number_that_is_no_target_is_refused(number: float) -> None:
    with pytest.raises(ArgumentError, match=r"not a target: .*; give a finite number, at most 1e\+100"):
        parse_target(number)


def test_a_shift_that_comes_out_too_large_is_refused_by_name() -> None:
    bank = Bank(np.arange(12.0).reshape(2, 6, 1) * 1e60, names=("humor",))
    with pytest.raises(SpecError, match="the target of 'humor' is"):
        target_levels(bank, parse_targets("humor=+1e90sd"))


def test_palettes_are_read_from_text_lists_and_mappings() -> None:
    expected = {"humor": Target("deviations", 0.5), "gpt2-harmless": Target("deviations", 0.3)}
    assert parse_targets("humor=+0.5sd,gpt2-harmless=+0.3sd") == expected
    assert parse_targets(["humor=+0.5sd", " gpt2-harmless = +0.3sd"]) == expected
    assert parse_targets({"humor": "+0.5sd", "gpt2-harmless": "+0.3sd"}) == expected


@pytest.mark.parametrize("text", ["humor", "=1", "humor=+1,humor=+2", "", "humor=1=2"])
def test_what_is_no_palette_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_targets(text)


def test_levels_of_all_four_forms() -> None:
    rewards = np.arange(10.0).reshape(2, 5, 1)
    bank = Bank(np.repeat(rewards, 4, axis=2), ("a", "b", "c", "d"))
    levels = target_levels(bank, parse_targets("d=80%,a=7,b=+1,c=+0.5sd"))
    np.testing.assert_allclose(levels, [7.2, 7.0, 5.5, 4.5 + 0.5 * np.sqrt(8.25)])


def test_standard_deviations_of_a_constant_reward_are_refused() -> None:
    bank = Bank(np.full((3, 4, 1), 0.1), ("flat",))
    with pytest.raises(SpecError, match="all rewards 'flat' are equal"):
        target_levels(bank, parse_targets("flat=+0.5sd"))


def test_an_unknown_value_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match="no reward 'mirth'; it has humor"):
        target_levels(Bank(np.zeros((1, 2, 1)), ("humor",)), parse_targets("mirth=1"))
