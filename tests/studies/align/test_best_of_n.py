"""Best-of-n as weights: against enumeration of all subsets, and as the limit of λ."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from latentext.errors import SpecError
from latentext.studies.align import Bank, best_of, best_of_n_divergence, diagnose_weights, tilt

Simulate = Callable[..., Bank]


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_weights_equal_the_enumeration_of_all_subsets(n: int) -> None:
    rewards = np.array([0.3, -1.0, 2.0, 0.1, 5.0, 4.0])
    subsets = list(combinations(range(6), n))
    wins = np.zeros(6)
    for subset in subsets:
        wins[max(subset, key=lambda j: rewards[j])] += 1
    found = best_of(Bank(rewards[None, :, None], ("a",)), 1.0, n=n)
    np.testing.assert_allclose(found.weights[0], wins / len(subsets), atol=1e-15)


def test_ties_share_the_weight_of_their_ranks() -> None:
    found = best_of(Bank(np.array([[[1.0], [1.0], [0.0], [0.0]]]), ("a",)), 1.0)
    np.testing.assert_allclose(found.weights, [[0.5, 0.5, 0.0, 0.0]])
    np.testing.assert_allclose(best_of(Bank(np.ones((1, 5, 1)), ("a",)), 1.0, n=3).weights, 0.2)


def test_large_lambda_tends_to_best_of_all(simulate: Simulate) -> None:
    bank = simulate(20, 8, seed=7, names=("a", "b"))
    direction = np.array([1.0, 0.5])
    np.testing.assert_allclose(tilt(bank, 1e6 * direction).weights, best_of(bank, direction).weights, atol=1e-12)


def test_divergence_of_a_large_bank_is_near_the_known_formula(simulate: Simulate) -> None:
    found = best_of(simulate(1, 20_000, seed=8), 1.0, n=4)
    assert found.divergence[0] == pytest.approx(best_of_n_divergence(4), abs=2e-3)


def test_best_of_n_has_diagnoses_like_any_weights(simulate: Simulate) -> None:
    bank = simulate(50, 8, seed=9)
    found = diagnose_weights(bank, best_of(bank, 1.0), 1.0)
    assert found.levels[0] == pytest.approx(bank.rewards[:, :, 0].max(axis=1).mean())
    assert found.effective_sample_size == pytest.approx(1.0)


@pytest.mark.parametrize("n", [0, 9])
def test_more_than_the_bank_has_is_refused(simulate: Simulate, n: int) -> None:
    with pytest.raises(SpecError, match=f"best-of-{n} needs {n} samples a prompt; the bank has 8"):
        best_of(simulate(2, 8, seed=9), 1.0, n=n)
