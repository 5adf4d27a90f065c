"""What a bank accepts, and how it names what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from latentext.errors import SpecError
from latentext.studies.align import Bank, bank_of_rows


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_not_finite_is_named_by_prompt_sample_and_reward(value: float) -> None:
    rewards = np.zeros((3, 4, 2))
    rewards[2, 1, 1] = value
    with pytest.raises(SpecError, match=rf"reward 'harmless' of prompt 2 \(k2\), sample 1 is {value}"):
        Bank(rewards, ("humor", "harmless"), ("k0", "k1", "k2"))


@pytest.mark.parametrize(
    ("shape", "names"),
    [((3, 4), ("a",)), ((0, 4, 1), ("a",)), ((3, 0, 1), ("a",)), ((3, 4, 2), ("a",)), ((3, 4, 2), ("a", "a"))],
)
def test_a_bank_of_the_wrong_shape_is_refused(shape: tuple[int, ...], names: tuple[str, ...]) -> None:
    with pytest.raises(SpecError):
        Bank(np.zeros(shape), names)


def test_two_prompts_under_one_key_are_refused() -> None:
    with pytest.raises(SpecError, match="2 prompts needs as many different keys, not 1"):
        Bank(np.zeros((2, 2, 1)), ("a",), ("same", "same"))


def test_an_unknown_value_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match="no reward 'humour'; it has humor, harmless"):
        Bank(np.zeros((1, 2, 2)), ("humor", "harmless")).select(["humour"])


def test_a_bank_is_made_from_rows_in_any_order() -> None:
    prompt, sample = [7, 3, 3, 7], [0, 1, 0, 1]
    bank, left_out = bank_of_rows(prompt, sample, {"humor": [70.0, 31.0, 30.0, 71.0]}, {3: "three", 7: "seven"})
    assert bank.rewards[:, :, 0].tolist() == [[30.0, 31.0], [70.0, 71.0]]
    assert bank.keys == ("three", "seven")
    assert left_out == ()


def test_prompts_that_lack_a_sample_are_left_out_and_reported() -> None:
    bank, left_out = bank_of_rows([0, 0, 1, 2, 2], [0, 1, 0, 0, 1], {"humor": np.arange(5.0)})
    assert bank.keys == ("0", "2")
    assert bank.rewards[:, :, 0].tolist() == [[0.0, 1.0], [3.0, 4.0]]
    assert left_out == (1,)


def test_a_sample_that_stands_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="prompt 4 has two rows for its sample 1"):
        bank_of_rows([4, 4, 4], [0, 1, 1], {"humor": [0.0, 1.0, 2.0]})


def test_standardised_rewards_have_mean_zero_and_deviation_one_and_constants_become_zero() -> None:
    rewards = np.random.default_rng(0).normal(3.0, 5.0, (20, 8, 2))
    rewards[:, :, 1] = 0.1
    standard = Bank(rewards, ("humor", "constant")).standardised()
    assert standard.base_levels == pytest.approx([0.0, 0.0], abs=1e-12)
    assert standard.spreads == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("value", [1.1e100, -1e308])
def test_a_reward_too_large_to_be_squared_is_named_with_what_to_do(value: float) -> None:
    rewards = np.zeros((2, 3, 1))
    rewards[1, 2, 0] = value
    with pytest.raises(SpecError, match=r"reward 'r' of prompt 1, sample 2 is .*; at most 1e\+100 can be weighed"):
        Bank(rewards, names=("r",))


@pytest.mark.parametrize("unit", [1e99, 1.0, 1e-180, 1e-300])
def test_spreads_have_their_digits_at_any_size(unit: float) -> None:
    rewards = np.random.default_rng(3).normal(size=(11, 4, 2))
    spreads = Bank(rewards * unit, names=("a", "b")).spreads
    np.testing.assert_allclose(spreads / unit, rewards.std(axis=(0, 1)), rtol=1e-12)
