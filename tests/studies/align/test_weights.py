"""Weights ∝ exp(λ·r): exact at any size, blind to constants, and equal to the plain formula where that one holds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latentext.errors import SpecError
from latentext.studies.align import Bank, best_of, tilt

Simulate = Callable[..., Bank]

rewards_of_two_values = arrays(np.float64, (3, 5, 2), elements=st.floats(-3, 3, width=32))


@given(rewards_of_two_values, st.floats(-5, 5), st.floats(-5, 5))
@settings(max_examples=50, deadline=None)
def test_weights_equal_the_plain_formula(rewards: np.ndarray, first: float, second: float) -> None:
    lam = np.array([first, second])
    plain = np.exp(rewards @ lam)
    plain /= plain.sum(axis=1, keepdims=True)
    found = tilt(Bank(rewards, ("a", "b")), lam)
    np.testing.assert_allclose(found.weights, plain, rtol=1e-12)
    np.testing.assert_allclose(found.effective_sample_size, 1 / (plain**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.divergence, (plain * np.log(5 * plain)).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(found.largest, plain.max(axis=1), rtol=1e-12)


def test_weights_are_exact_where_the_plain_formula_overflows() -> None:
    rewards = np.array([[[0.0], [1e4], [1e4 - math.log(3)]], [[-1e4], [0.0], [-1e4]]])
    weights = tilt(Bank(rewards, ("a",)), 1.0)
    np.testing.assert_allclose(weights.weights, [[0, 0.75, 0.25], [0, 1, 0]], rtol=1e-11)
    assert weights.divergence[1] == pytest.approx(math.log(3), abs=1e-12)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@settings(max_examples=30, deadline=None)
def test_constants_added_to_rewards_change_nothing(simulate: Simulate, first: float, second: float) -> None:
    bank = simulate(4, 8, seed=0, names=("a", "b"))
    moved = Bank(bank.rewards + np.array([first, second]), bank.names)
    # Adding the constant itself costs about 1e-10 of each reward.
    np.testing.assert_allclose(tilt(moved, [1.5, -0.5]).weights, tilt(bank, [1.5, -0.5]).weights, rtol=1e-8)


def test_a_reward_that_is_constant_within_each_prompt_changes_nothing(simulate: Simulate) -> None:
    bank = simulate(4, 8, seed=0, names=("a",))
    between = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 8, 1))
    both = Bank(np.concatenate([bank.rewards, between], axis=2), ("a", "between"))
    np.testing.assert_allclose(tilt(both, [0.7, 100.0]).weights, tilt(bank, 0.7).weights, rtol=1e-9)


def test_lambda_zero_is_the_base_model(simulate: Simulate) -> None:
    bank = simulate(5, 16, seed=1, names=("a", "b"))
    weights = tilt(bank, [0.0, 0.0])
    assert weights.weights == pytest.approx(np.full((5, 16), 1 / 16))
    assert weights.effective_sample_size == pytest.approx(np.full(5, 16.0))
    assert weights.divergence == pytest.approx(np.zeros(5), abs=1e-12)


def test_pooled_weights_sum_to_one_over_all_prompts(simulate: Simulate) -> None:
    weights = tilt(simulate(5, 4, seed=1), 0.8, pooled=True)
    assert weights.weights.shape == (5, 4)
    assert weights.weights.sum() == pytest.approx(1.0)
    assert weights.effective_sample_size.shape == (1,)


@pytest.mark.parametrize(
    ("lam", "message"),
    [([1.0], "1 numbers in λ for 2 values"), ([np.nan, 0.0], "λ is not finite"), ([np.inf, 0.0], "use best-of-n")],
)
def test_a_lambda_that_does_not_fit_is_refused(simulate: Simulate, lam: list[float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tilt(simulate(2, 2, seed=0, names=("a", "b")), lam)


def test_a_single_sample_a_prompt_is_refused(simulate: Simulate) -> None:
    with pytest.raises(SpecError, match="one sample a prompt"):
        tilt(simulate(5, 1, seed=0), 1.0)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("strength", [1.0, 1e15, 1e20, 1e300, 1e307])
def test_weights_sum_to_one_and_equal_scores_share_at_any_strength(strength: float, pooled: bool) -> None:
    """Three prompts with two best samples each: at a large λ these take all, half each."""
    bank = Bank([[[2.0], [1.0], [2.0]], [[0.5], [2.0], [2.0]], [[2.0], [2.0], [-3.0]]], names=("sentiment",))
    weights = tilt(bank, strength, pooled=pooled)
    assert np.isfinite(weights.log_weights).all()
    np.testing.assert_allclose(weights.weights.sum(axis=None if pooled else 1), 1.0, rtol=1e-12)
    assert weights.effective_sample_size.min() >= (1.99 if not pooled else 5.9)
    if strength > 1:
        share = 1 / 6 if pooled else 1 / 2
        np.testing.assert_allclose(weights.weights[bank.rewards[:, :, 0] == 2.0], share, rtol=1e-12)


@pytest.mark.parametrize("lam", [[1e308, 0.0], [1e308, -1e308], [-1.7e308, 1e300]])
def test_a_lambda_whose_products_overflow_is_refused_and_best_of_n_takes_it(lam: list[float]) -> None:
    bank = Bank(np.random.default_rng(5).normal(size=(7, 6, 2)) * [3.0, 0.1], names=("sentiment", "length"))
    with pytest.raises(SpecError, match="is too large: λ times the rewards overflows; give a smaller λ"):
        tilt(bank, lam)
    smaller = (np.array(lam) / 2.0**1000).tolist()
    np.testing.assert_array_equal(best_of(bank, lam).weights, best_of(bank, smaller).weights)
