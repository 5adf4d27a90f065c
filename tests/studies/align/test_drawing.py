"""Draws follow their weights and depend on nothing but seed, key and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from latentext.errors import SpecError
from latentext.studies.align import Bank, best_of, draw, tilt

Simulate = Callable[..., Bank]


def test_a_hundred_thousand_draws_match_the_weights(simulate: Simulate) -> None:
    bank = simulate(1, 32, seed=5)
    weights = tilt(bank, 1.0)
    counts = np.bincount(draw(bank, weights, 100_000)[0], minlength=32)
    expected = weights.weights[0] * 100_000
    assert chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4
    np.testing.assert_allclose(counts / 100_000, weights.weights[0], atol=5 * np.sqrt(0.25 / 100_000))


def test_single_draws_of_many_prompts_match_the_weights() -> None:
    rewards = np.tile(np.log([0.5, 0.3, 0.15, 0.05])[None, :, None], (20_000, 1, 1))
    bank = Bank(rewards, ("a",))
    counts = np.bincount(draw(bank, tilt(bank, 1.0))[:, 0], minlength=4)
    assert chisquare(counts, np.array([0.5, 0.3, 0.15, 0.05]) * 20_000).pvalue > 1e-4


def test_ordered_draws_without_replacement_have_their_exact_probabilities() -> None:
    probabilities = np.array([0.6, 0.3, 0.1])
    bank = Bank(np.tile(np.log(probabilities)[None, :, None], (30_000, 1, 1)), ("a",))
    seen = Counter(map(tuple, draw(bank, tilt(bank, 1.0), 2, replace=False).tolist()))
    orders = list(permutations(range(3), 2))
    expected = [30_000 * probabilities[i] * probabilities[j] / (1 - probabilities[i]) for i, j in orders]
    assert chisquare([seen[order] for order in orders], expected).pvalue > 1e-4


@pytest.mark.parametrize("replace", [True, False])
def test_a_shard_draws_the_same_as_the_whole(simulate: Simulate, replace: bool) -> None:
    bank = simulate(20, 8, seed=6)
    whole = draw(bank, tilt(bank, 0.5), 3, replace=replace, seed=4)
    shard = bank.take(range(7, 12))
    np.testing.assert_array_equal(draw(shard, tilt(shard, 0.5), 3, replace=replace, seed=4), whole[7:12])


@pytest.mark.parametrize("replace", [True, False])
def test_the_first_draws_do_not_depend_on_how_many_follow(simulate: Simulate, replace: bool) -> None:
    bank = simulate(20, 8, seed=6)
    weights = tilt(bank, 0.5)
    more = draw(bank, weights, 8, replace=replace)
    np.testing.assert_array_equal(draw(bank, weights, 2, replace=replace), more[:, :2])


def test_another_seed_gives_other_draws(simulate: Simulate) -> None:
    bank = simulate(50, 8, seed=6)
    weights = tilt(bank, 0.1)
    assert not np.array_equal(draw(bank, weights, seed=0), draw(bank, weights, seed=1))


def test_all_samples_drawn_without_replacement_are_all_different(simulate: Simulate) -> None:
    bank = simulate(20, 8, seed=6)
    drawn = draw(bank, tilt(bank, 50.0), 8, replace=False)
    assert (np.sort(drawn, axis=1) == np.arange(8)).all()


def test_a_sample_without_weight_is_never_drawn(simulate: Simulate) -> None:
    bank = simulate(50, 4, seed=6)
    best = best_of(bank, 1.0)
    assert (draw(bank, best, 100) == bank.rewards[:, :, 0].argmax(axis=1)[:, None]).all()
    with pytest.raises(SpecError, match="cannot draw 2 of 1 samples without replacement"):
        draw(bank, best, 2, replace=False)


def test_pooled_weights_are_not_drawn_from(simulate: Simulate) -> None:
    bank = simulate(3, 4, seed=6)
    with pytest.raises(SpecError, match="pooled"):
        draw(bank, tilt(bank, 1.0, pooled=True))
