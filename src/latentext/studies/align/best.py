r"""Best-of-n: what large λ tends to, exactly, for every n up to the bank's N.

Best-of-n draws n samples and keeps the one with the highest λ·r. Over a bank of N samples its outcome is known without
drawing: the sample of rank i from below is the best of a random n-subset with probability C(i-1, n-1) / C(N, n). So
best-of-n gives weights like any λ does, with the same diagnostics, and n = N is the limit of λ → ∞ in that direction.
Samples that tie share the probability of their ranks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from latentext.errors import SpecError
from latentext.studies.align.bank import Bank, Floats, power_of_two
from latentext.studies.align.weights import Weights, checked_lambda, scores


def best_of(bank: Bank, lam: ArrayLike, n: int | None = None) -> Weights:
    """Weights of best-of-n in the direction λ, on subsets of each prompt's samples drawn without replacement.

    Args:
        lam: direction, one number a value; its length does not matter.
        n: size of the subsets, the bank's N when left out.

    Raises:
        SpecError: n below 1 or above N, or a λ that does not fit the bank.

    Example:
        >>> bank = Bank([[[0.0], [1.0], [2.0]]], names=("sentiment",))
        >>> best_of(bank, 1.0, n=2).weights.round(3).tolist()
        [[0.0, 0.333, 0.667]]
    """
    size = bank.samples if n is None else n
    if not 1 <= size <= bank.samples:
        raise SpecError(f"best-of-{size} needs {size} samples a prompt", remedy=f"the bank has {bank.samples}")
    by_rank = _rank_probabilities(bank.samples, size)
    direction = checked_lambda(bank, lam)
    values = scores(bank, direction / power_of_two(np.abs(direction).max()))
    with np.errstate(divide="ignore"):  # Ranks below n never win: log 0 is meant.
        return Weights(np.log(_shared_between_ties(values, by_rank)))


def best_of_n_divergence(n: int) -> float:
    """log n - (n-1)/n nats: KL of best-of-n from the base when no two scores tie, else an upper bound.

    Source: Beirami et al. 2024, "Theoretical guarantees on the best-of-n alignment policy".
    """
    return math.log(n) - (n - 1) / n


def _rank_probabilities(samples: int, n: int) -> Floats:
    """Probability that the sample of each rank, lowest first, is the best of a random n-subset."""
    subsets = math.comb(samples, n)
    return np.array([math.comb(rank, n - 1) / subsets for rank in range(samples)])


def _shared_between_ties(values: Floats, by_rank: Floats) -> Floats:
    """Probability of every sample: equal values get the mean of the probabilities of the ranks they hold."""
    total = np.concatenate([[0.0], by_rank.cumsum()])
    weights = np.empty_like(values)
    for row, target in zip(values, weights, strict=True):
        ordered = np.sort(row)
        first, past = np.searchsorted(ordered, row, side="left"), np.searchsorted(ordered, row, side="right")
        target[:] = (total[past] - total[first]) / (past - first)
    return weights
