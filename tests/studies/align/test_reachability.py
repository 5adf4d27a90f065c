"""The feasibility programme against the same programme written out in full, and against cases known by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linprog

from latentext.studies.align import Bank, reach

Simulate = Callable[..., Bank]


def _fraction_by_the_full_programme(bank: Bank, target: np.ndarray) -> float:
    """One unknown a sample, and t: the programme as docs/align.md states it."""
    prompts, samples, values = bank.rewards.shape
    number = prompts * samples
    way = target - bank.base_levels
    simplex = np.zeros((prompts, number + 1))
    for prompt in range(prompts):
        simplex[prompt, prompt * samples : (prompt + 1) * samples] = 1.0
    levels = np.column_stack([-bank.rewards.reshape(number, values).T / prompts, way])
    found = linprog(
        np.append(np.zeros(number), -1.0), A_ub=levels, b_ub=-bank.base_levels, A_eq=simplex, b_eq=np.ones(prompts)
    )
    return -float(found.fun)


@pytest.mark.parametrize("seed", range(6))
def test_the_fraction_equals_that_of_the_programme_written_out(simulate: Simulate, seed: int) -> None:
    bank = simulate(12, 6, seed=seed, names=("a", "b", "c"))
    way = np.random.default_rng(seed).normal(0.3, 0.7, size=3)
    way[0] = abs(way[0])
    target = bank.base_levels + way
    assert reach(bank, target).fraction == pytest.approx(_fraction_by_the_full_programme(bank, target), abs=2e-6)


def test_one_value_reaches_the_mean_of_its_best_samples(simulate: Simulate) -> None:
    bank = simulate(30, 8, seed=1)
    best = bank.rewards.max(axis=1).mean(axis=0)
    assert reach(bank, best).fraction == pytest.approx(1.0, abs=1e-6)
    halfway = reach(bank, 2 * best - bank.base_levels)
    assert halfway.fraction == pytest.approx(0.5, abs=1e-6)
    assert halfway.levels == pytest.approx(best, abs=1e-5)


def test_values_that_exclude_each_other_cannot_both_rise() -> None:
    bank = Bank(np.array([[[1.0, -1.0], [-1.0, 1.0]]] * 4), ("a", "b"))
    assert reach(bank, np.array([0.1, 0.1])).fraction == pytest.approx(0.0, abs=1e-6)
    assert reach(bank, np.array([0.5, -0.5])).fraction == pytest.approx(2.0, abs=1e-6)


def test_targets_at_or_below_the_base_are_always_reachable(simulate: Simulate) -> None:
    bank = simulate(5, 4, seed=2, names=("a", "b"))
    assert reach(bank, bank.base_levels - [0.0, 1.0]).fraction == np.inf


def test_a_constant_reward_reaches_nothing_beyond_itself() -> None:
    assert reach(Bank(np.full((3, 4, 1), 0.1), ("flat",)), np.array([0.2])).fraction == pytest.approx(0.0, abs=1e-9)
