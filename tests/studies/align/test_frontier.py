"""The frontier: points spend their budget, none is dominated, and impossible requests are named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentext.errors import SpecError
from latentext.studies.align import Bank, sweep

Simulate = Callable[..., Bank]


def test_every_point_spends_its_budget_and_none_is_dominated(simulate: Simulate) -> None:
    bank = simulate(60, 16, seed=1, names=("a", "b", "c"))
    points = sweep(bank, ["c", "a"], budgets=(0.1, 0.5), steps=6)
    assert len(points) == 14
    for budget in (0.1, 0.5):
        part = [point for point in points if point.budget == budget]
        assert [point.diagnosis.divergence for point in part] == pytest.approx([budget] * 7, rel=1e-6)
        levels = np.array([point.diagnosis.levels[[2, 0]] for point in part])
        assert (np.diff(levels[:, 0]) < 0).all()
        assert (np.diff(levels[:, 1]) > 0).all()
    assert all(point.diagnosis.lam[1] == 0.0 for point in points)


def test_a_point_is_the_best_of_all_weights_with_its_budget(simulate: Simulate) -> None:
    bank = simulate(30, 8, seed=2, names=("a", "b"))
    point = sweep(bank, ["a", "b"], budgets=(0.3,), steps=2)[1]
    direction = point.direction / bank.spreads
    reached = float(direction @ point.diagnosis.levels)
    rng = np.random.default_rng(0)
    for _ in range(100):
        # Random weights, mixed with uniform ones until they spend no more than the budget.
        weights = rng.dirichlet(np.ones(8), size=30)
        while (weights * np.log(8 * weights)).sum(axis=1).mean() > 0.3:
            weights = 0.9 * weights + 0.1 / 8
        assert float(direction @ (weights[:, :, None] * bank.rewards).sum(axis=1).mean(axis=0)) < reached


def test_three_values_are_swept_over_a_triangle_of_directions(simulate: Simulate) -> None:
    points = sweep(simulate(20, 8, seed=3, names=("a", "b", "c")), ["a", "b", "c"], budgets=(0.2,), steps=3)
    assert len(points) == 10
    directions = np.array([point.direction for point in points])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    assert directions[0].tolist() == [1.0, 0.0, 0.0]
    assert directions[-1].tolist() == [0.0, 0.0, 1.0]


def test_a_budget_that_ties_make_impossible_gives_no_point() -> None:
    rewards = np.tile(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), (5, 1, 1))
    points = sweep(Bank(rewards, ("a", "b")), ["a", "b"], budgets=(1.0,), steps=1)
    # Two samples share the best a: its divergence ends at log 2. One has the best b.
    assert [point.direction.tolist() for point in points] == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("names", "budgets", "message"),
    [
        (["a"], (0.1,), "two or three different values, not a"),
        (["a", "a"], (0.1,), "two or three different values, not a, a"),
        (["a", "x"], (0.1,), "no reward 'x'"),
        (["a", "flat"], (0.1,), "flat never differs between samples of a prompt"),
        (
            ["a", "b"],
            (3.0,),
            "no divergence of 3 nats with 8 samples a prompt; give budgets between 0 and log N = 2.079",
        ),
        (["a", "b"], (0.0,), "no divergence of 0 nats"),
    ],
)
def test_what_cannot_be_swept_is_named(
    simulate: Simulate, names: list[str], budgets: tuple[float, ...], message: str
) -> None:
    rewards = simulate(5, 8, seed=1, names=("a", "b", "flat")).rewards.copy()
    rewards[:, :, 2] = 1.0
    with pytest.raises(SpecError, match=message):
        sweep(Bank(rewards, ("a", "b", "flat")), names, budgets=budgets)
