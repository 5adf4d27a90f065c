"""Networks: the best epoch is what is kept, training is repeatable, bins are classified."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentext.probes.networks import Training, train

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def noisy() -> Arrays:
    """Few noisy rows and many components: a network overfits within a few epochs."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(280, 20)).astype(np.float32)
    targets = np.maximum(0, np.round(8 + 3 * states[:, 0] + rng.normal(size=280) * 6))
    return states[:80], targets[:80], states[80:], targets[80:]


def log_loss(predicted: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((np.log1p(predicted[:, 0]) - np.log1p(target)) ** 2))


def test_the_weights_are_those_of_the_best_epoch_and_not_of_the_last(noisy: Arrays) -> None:
    network = train(*noisy, Training(hidden=32, epochs=40, learning_rate=5e-3))
    best, last = min(network.losses), network.losses[-1]
    assert last > 1.05 * best and network.best_epoch == 1 + network.losses.index(best) < 40
    assert log_loss(network.predict(noisy[2]), noisy[3]) == pytest.approx(best, rel=1e-5)


def test_training_is_repeatable_and_leaves_the_random_state_alone(noisy: Arrays) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (train(*noisy, Training(hidden=16, epochs=3)) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first.predict(noisy[2]), second.predict(noisy[2]))
    other = train(*noisy, Training(hidden=16, epochs=3, seed=1))
    assert not np.array_equal(first.predict(noisy[2]), other.predict(noisy[2]))


def test_lengths_are_never_negative_and_a_monotone_map_is_found() -> None:
    rng = np.random.default_rng(1)
    states = rng.normal(size=(2_000, 5)).astype(np.float32)
    targets = np.maximum(0.0, 30 + 8 * states[:, 2])
    network = train(
        states[:1500], targets[:1500], states[1500:], targets[1500:], Training(epochs=20, learning_rate=0.02)
    )
    predicted = network.predict(states[1500:])[:, 0]
    assert predicted.min() >= 0
    assert np.corrcoef(predicted, targets[1500:])[0, 1] > 0.98


def test_bins_are_classified() -> None:
    rng = np.random.default_rng(2)
    states = rng.normal(size=(900, 6)).astype(np.float32)
    bins = np.digitize(states[:, 0], [-0.5, 0.5]).astype(np.float64)
    network = train(states[:600], bins[:600], states[600:], bins[600:], Training(epochs=20, learning_rate=0.03), bins=3)
    probabilities = network.predict(states[600:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == bins[600:]).mean() > 0.9
