"""The closed form against scikit-learn, block by block, and where numbers are awkward."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from latentext.probes.ridge import PENALTIES, Moments, solve

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def data() -> Arrays:
    """Correlated states far from zero, two targets; 400 rows to train on, 150 to choose by."""
    rng = np.random.default_rng(0)
    states = (rng.normal(size=(550, 12)) @ rng.normal(size=(12, 12)) + 300).astype(np.float32)
    targets = np.column_stack([states[:, 0] - 2 * states[:, 5] + rng.normal(size=550) * 5, rng.normal(size=550)])
    return states[:400], targets[:400], states[400:], targets[400:]


def moments_of(states: np.ndarray, targets: np.ndarray, block: int = 64) -> Moments:
    moments = Moments(states.shape[1], targets.shape[1])
    for start in range(0, len(states), block):
        moments.add(states[start : start + block], targets[start : start + block])
    return moments


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 1.0, 100.0])
def test_every_penalty_gives_what_scikit_learn_gives(data: Arrays, penalty: float) -> None:
    states, targets, held_states, held_targets = data
    ours = solve(moments_of(states, targets), moments_of(held_states, held_targets), [penalty])
    scaler = StandardScaler().fit(states.astype(np.float64))
    theirs = SklearnRidge(alpha=penalty * len(states)).fit(scaler.transform(states.astype(np.float64)), targets)
    expected = theirs.predict(scaler.transform(held_states.astype(np.float64)))
    np.testing.assert_allclose(ours.predict(held_states), expected, rtol=1e-6, atol=1e-6)


def test_the_penalty_is_the_one_with_the_least_error_on_the_validation_rows(data: Arrays) -> None:
    states, targets, held_states, held_targets = data
    train, validation = moments_of(states, targets), moments_of(held_states, held_targets)
    errors = [
        np.square(solve(train, validation, [p]).predict(held_states) - held_targets).sum(axis=0) for p in PENALTIES
    ]
    chosen = solve(train, validation).penalties
    assert chosen.tolist() == [PENALTIES[k] for k in np.argmin(errors, axis=0)]
    assert chosen[1] > chosen[0]  # Of noise, as little as possible is believed.


def test_blocks_of_any_size_give_the_same_probe(data: Arrays) -> None:
    states, targets, held_states, held_targets = data
    one, many = (
        solve(moments_of(states, targets, size), moments_of(held_states, held_targets, size)) for size in (1_000, 7)
    )
    np.testing.assert_allclose(one.predict(held_states), many.predict(held_states), rtol=1e-8)


def test_a_component_that_never_changes_gets_no_weight(data: Arrays) -> None:
    states, targets, held_states, held_targets = data
    flat = np.column_stack([states, np.full(len(states), 3.1, np.float32)])
    held = np.column_stack([held_states, np.linspace(-1e6, 1e6, len(held_states)).astype(np.float32)])
    probe = solve(moments_of(flat, targets), moments_of(held, held_targets))
    assert probe.weight[-1].tolist() == [0.0, 0.0]
    assert np.isfinite(probe.predict(held)).all()


def test_states_a_million_times_farther_from_zero_than_they_vary_are_no_harder(data: Arrays) -> None:
    states, targets, held_states, held_targets = (values.astype(np.float64) for values in data)
    near = solve(moments_of(states, targets), moments_of(held_states, held_targets))
    far = solve(moments_of(states + 1e7, targets), moments_of(held_states + 1e7, held_targets))
    np.testing.assert_allclose(far.predict(held_states + 1e7), near.predict(held_states), rtol=1e-4)
