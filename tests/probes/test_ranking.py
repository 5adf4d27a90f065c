"""Order and ranks of numbers that are sorted in pieces, against NumPy and SciPy on all of them at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from latentext.probes.baselines import permuted
from latentext.probes.metrics import ranks_by_row
from latentext.probes.ranking import Sorter

KEYS = {
    "all different": np.random.default_rng(0).normal(size=5_000),
    "few values": np.random.default_rng(1).integers(0, 3, 5_000).astype(float),
    "one value": np.zeros(5_000),
    "one value and others": np.where(np.arange(5_000) % 3 == 0, np.arange(5_000.0), 7.0),
    "ascending": np.arange(5_000.0),
    "fewer than a run": np.array([2.0, -1.0, 2.0]),
    "none": np.empty(0),
}


def sorter_of(keys: np.ndarray, block: int = 333) -> Sorter:
    sorter, rows = Sorter(run=256, step=16), np.arange(len(keys), dtype=float)
    for begin in range(0, len(keys), block):
        sorter.add(keys[begin : begin + block], rows[begin : begin + block])
    return sorter


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_every_pair_comes_once_and_in_order(keys: np.ndarray) -> None:
    pairs = np.concatenate([np.empty((0, 2)), *sorter_of(keys).ascending()])
    assert np.array_equal(pairs[:, 0], np.sort(keys))
    assert np.array_equal(np.sort(pairs[:, 1]), np.arange(len(keys)))
    assert np.array_equal(keys[pairs[:, 1].astype(int)], pairs[:, 0])


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_ranks_are_average_ranks_in_the_order_of_rows(keys: np.ndarray) -> None:
    ranks = np.concatenate([np.empty(0), *ranks_by_row(sorter_of(keys))])
    assert np.array_equal(ranks, rankdata(keys))


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_no_block_is_much_larger_than_a_run(keys: np.ndarray) -> None:
    assert max([0, *(len(block) for block in sorter_of(keys).ascending())]) <= 3 * 256


@pytest.mark.parametrize("count", [1, 2, 3, 64, 65, 1_000])
def test_a_computed_shuffle_is_a_permutation_of_its_own_for_every_seed(count: int) -> None:
    orders = [permuted(np.arange(count), count, seed) for seed in range(3)]
    assert all(sorted(order.tolist()) == list(range(count)) for order in orders)
    assert count < 64 or len({order.tobytes() for order in orders}) == 3


def test_a_computed_shuffle_does_not_depend_on_what_is_asked_together() -> None:
    whole = permuted(np.arange(1_000), 1_000)
    assert np.array_equal(np.concatenate([permuted(np.arange(k, k + 1), 1_000) for k in range(1_000)]), whole)
    # Far from where they were, in no direction: neighbours part, and places are not related.
    assert abs(np.corrcoef(whole, np.arange(1_000))[0, 1]) < 0.1 and (np.abs(np.diff(whole)) < 3).mean() < 0.02
