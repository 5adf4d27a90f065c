"""Pareto-smoothed weights: the fitted shape against a known one, and what smoothing must leave alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import genpareto

from latentext.errors import SpecError
from latentext.studies.align import Bank, Weights, best_of, pareto_smooth, tilt
from latentext.studies.align.weights import log_normalise

Simulate = Callable[..., Bank]


@pytest.mark.parametrize("shape", [0.1, 0.5, 0.9])
def test_the_shape_of_a_known_tail_is_found(shape: float) -> None:
    ratios = genpareto(shape).rvs((20, 20_000), random_state=1)
    _, found = pareto_smooth(Weights(log_normalise(np.log(ratios))))
    # The spread of 20 estimates from tails of 425; the weak prior draws towards 0.5.
    assert found.mean() == pytest.approx(shape, abs=0.05)


def test_smoothing_keeps_order_sum_and_largest_weight(simulate: Simulate) -> None:
    weights = tilt(simulate(40, 64, seed=1), 1.0)
    smoothed, shapes = pareto_smooth(weights)
    assert np.isfinite(shapes).all()
    np.testing.assert_allclose(smoothed.weights.sum(axis=1), 1.0)
    order = np.argsort(weights.log_weights, axis=1)
    assert (np.diff(np.take_along_axis(smoothed.log_weights, order, axis=1), axis=1) >= -1e-12).all()
    body = np.take_along_axis(smoothed.log_weights - weights.log_weights, order[:, :-13], axis=1)
    np.testing.assert_allclose(body, np.broadcast_to(body[:, :1], body.shape), atol=1e-12)


def test_smoothed_levels_vary_less_between_banks_when_the_tail_is_heavy() -> None:
    plain, smooth = [], []
    for seed in range(200):
        scores = np.random.default_rng(seed).exponential(size=(1, 200))
        # Ratios of exp(0.8 · Exp(1)) have a Pareto tail of shape 0.8: infinite variance.
        weights = Weights(log_normalise(0.8 * scores))
        plain.append((weights.weights * scores).sum())
        smooth.append((pareto_smooth(weights)[0].weights * scores).sum())
    assert np.std(smooth) < 0.9 * np.std(plain)


def test_even_weights_and_short_tails_stay_as_they_are(simulate: Simulate) -> None:
    for weights in (tilt(simulate(3, 64, seed=1), 0.0), tilt(simulate(3, 16, seed=1), 1.0)):
        smoothed, shapes = pareto_smooth(weights)
        np.testing.assert_allclose(smoothed.log_weights, weights.log_weights, atol=1e-12)
        assert np.isinf(shapes).all()


def test_pooled_weights_are_smoothed_as_one_distribution(published: Bank) -> None:
    smoothed, shapes = pareto_smooth(tilt(published, (2.533, 0.233, 0.278, 0.020, 0.046, 0.051), pooled=True))
    assert shapes.shape == (1,)
    assert smoothed.weights.sum() == pytest.approx(1.0)


def test_weights_of_zero_are_refused(simulate: Simulate) -> None:
    with pytest.raises(SpecError, match="not of best-of-n"):
        pareto_smooth(best_of(simulate(3, 64, seed=1), 1.0))
