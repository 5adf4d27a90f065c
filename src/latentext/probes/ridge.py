"""Ridge regression in closed form, summed block by block: one pass over the states, whatever their number.

All that least squares needs of the rows are their first and second moments, which add up over blocks. From them follow
the solution for every penalty (one eigendecomposition), the scaling, and the error on validation rows, so the penalty
is chosen without reading anything twice and memory holds one block. Several targets share the moments of the states.

States are standardised: each component is divided by its standard deviation over the training rows, and a penalty is
in units of the number of rows, so that the same penalties make sense for every site, width and size of dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]

PENALTIES: tuple[float, ...] = tuple(10.0**power for power in range(-6, 3))
"""Penalties that are tried, per row: ``sklearn.linear_model.Ridge(alpha=penalty * rows)`` on standardised states."""


class Moments:
    """Sums of states [n, width], of targets [n, targets] and of their products, over all rows added so far.

    Sums are of differences from the first block's mean: components of a state can be a hundred times as far from zero
    as they vary, and squares of such numbers lose the digits that matter.
    """

    def __init__(self, width: int, targets: int):
        self.rows = 0
        self.origin: Doubles | None = None
        self.states = np.zeros(width)
        self.targets = np.zeros(targets)
        self.states_states = np.zeros((width, width))
        self.states_targets = np.zeros((width, targets))
        self.targets_targets = np.zeros(targets)

    def add(self, states: Floats, targets: Doubles) -> None:
        """Add a block of rows, in which every number is finite."""
        if len(states) == 0:
            return
        if self.origin is None:
            self.origin = states.mean(axis=0, dtype=np.float64)
        moved = states - self.origin  # float64, so that sums over millions of rows keep their digits.
        self.rows += len(states)
        self.states += moved.sum(axis=0)
        self.targets += targets.sum(axis=0)
        self.states_states += moved.T @ moved
        self.states_targets += moved.T @ targets
        self.targets_targets += np.square(targets).sum(axis=0)


@dataclass(frozen=True)
class Ridge:
    """A fitted linear probe: ``predict(x) = ((x - mean) / scale) @ weight + bias``, one column a target.

    Attributes:
        mean, scale: [width], of the training rows; scale is 1 where a component does not vary.
        weight, bias: [width, targets], [targets].
        penalties: [targets], the penalty per row that was best on the validation rows.
    """

    mean: Doubles
    scale: Doubles
    weight: Doubles
    bias: Doubles
    penalties: Doubles

    def predict(self, states: Floats) -> Doubles:
        """Predictions [n, targets] for states [n, width]."""
        folded = self.weight / self.scale[:, None]
        return np.asarray(states @ folded + (self.bias - self.mean @ folded), np.float64)


def solve(train: Moments, validation: Moments, penalties: Sequence[float] = PENALTIES) -> Ridge:
    """The ridge solution on the training moments, with the penalty that has the least error on the validation moments.

    The intercept is not penalised. A component that does not vary in the training rows gets no weight.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> states = rng.normal(size=(300, 4))
        >>> train, validation = Moments(4, 1), Moments(4, 1)
        >>> train.add(states[:200], states[:200, :1] * 3 + 7)
        >>> validation.add(states[200:], states[200:, :1] * 3 + 7)
        >>> probe = solve(train, validation)
        >>> probe.penalties.tolist(), probe.predict(np.zeros((1, 4))).round(3).tolist()
        ([1e-06], [[7.0]])
    """
    assert train.origin is not None
    mean, target_mean = train.states / train.rows, train.targets / train.rows
    covariance = train.states_states / train.rows - np.outer(mean, mean)
    variance = np.diag(covariance)
    varies = variance > 1e-20 * np.square(train.origin + mean)  # Rounding alone moves a constant by 1e-16 of itself.
    scale = np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), 1.0)
    keep = np.where(varies, 1.0 / scale, 0.0)
    values, vectors = np.linalg.eigh(covariance * keep[:, None] * keep)
    values = np.maximum(values, 0.0)  # Rounding leaves eigenvalues of zero a little below it.
    shared = (train.states_targets / train.rows - np.outer(mean, target_mean)) * keep[:, None]
    rotated = vectors.T @ shared

    # Validation rows seen from the training mean and scale, in the eigenvectors' coordinates.
    offset = (validation.origin if validation.origin is not None else train.origin) - train.origin - mean
    products = _products_about(validation, offset, target_mean)
    quadratic = vectors.T @ (products.states_states * keep[:, None] * keep) @ vectors
    linear = vectors.T @ (products.states_targets * keep[:, None])

    errors = []
    for penalty in penalties:
        solution = rotated / (values + penalty)[:, None]
        errors.append(((quadratic @ solution) * solution - 2 * linear * solution).sum(axis=0))
    best = np.asarray(penalties)[np.argmin(errors, axis=0)]
    weight = vectors @ (rotated / (values[:, None] + best)) * np.where(varies, 1.0, 0.0)[:, None]
    return Ridge(train.origin + mean, scale, weight, target_mean, best)


@dataclass(frozen=True)
class _Products:
    states_states: Doubles
    states_targets: Doubles


def _products_about(moments: Moments, offset: Doubles, target_mean: Doubles) -> _Products:
    """Sums of products of (states + offset) with themselves and with (targets - target_mean)."""
    sums, rows = moments.states, moments.rows
    states_states = moments.states_states + np.outer(sums, offset) + np.outer(offset, sums + rows * offset)
    states_targets = (
        moments.states_targets
        - np.outer(sums, target_mean)
        + np.outer(offset, moments.targets - moments.rows * target_mean)
    )
    return _Products(states_states, states_targets)
