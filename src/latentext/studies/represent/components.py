"""Long vectors made short: principal components, and how much of the variance each holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from latentext.errors import ArgumentError

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Principal components of vectors [N, width].

    Attributes:
        scores: the vectors in the new coordinates, [N, components].
        explained_variance_ratio: part of the variance that each component holds, [components], descending.
        mean, directions: of the original vectors, [width] and [components, width]; directions have length 1.
    """

    scores: Matrix = field(repr=False)
    explained_variance_ratio: Matrix
    mean: Matrix = field(repr=False)
    directions: Matrix = field(repr=False)

    @property
    def explained(self) -> float:
        """Part of the variance that all components together hold."""
        return float(self.explained_variance_ratio.sum())

    def transform(self, vectors: npt.NDArray[Any]) -> Matrix:
        """Other vectors [n, width] in the same coordinates."""
        return np.asarray((np.asarray(vectors, np.float64) - self.mean) @ self.directions.T)

    def __str__(self) -> str:
        return f"{len(self.directions)} components explain {self.explained:.1%} of the variance"


def principal_components(vectors: npt.NDArray[Any], components: int | float) -> Components:
    """Principal components by singular values of the centred vectors.

    The sign of a direction is free; here its largest component is positive, so that results can be compared.

    Args:
        vectors: [N, width], for example all rows of ``dataset.states("final_norm")``.
        components: how many, or the part of the variance they should hold (between 0 and 1, exclusive).

    Raises:
        ArgumentError: not two-dimensional, fewer than two vectors, not finite, or more components than there are.

    Example:
        >>> line = np.outer([0.0, 1.0, 2.0, 3.0], [3.0, 4.0])
        >>> short = principal_components(line, 1)
        >>> short.scores.round(1).ravel().tolist(), round(short.explained, 6)
        ([-7.5, -2.5, 2.5, 7.5], 1.0)
    """
    states = np.asarray(vectors, np.float64)
    if states.ndim != 2 or len(states) < 2:
        raise ArgumentError(f"vectors have the shape {states.shape}", remedy="give [N, width] with at least two")
    if not np.isfinite(states).all():
        raise ArgumentError("vectors are not finite", remedy="drop the rows of texts that failed")
    mean = states.mean(0)
    left, singular, directions = np.linalg.svd(states - mean, full_matrices=False)
    variance = singular**2
    ratios = variance / variance.sum() if variance.sum() > 0 else variance
    count = _count(components, ratios)
    largest = np.abs(directions[:count]).argmax(1)
    signs = np.where(directions[np.arange(count), largest] < 0, -1.0, 1.0)
    scores = left[:, :count] * singular[:count] * signs
    return Components(scores, ratios[:count], mean, directions[:count] * signs[:, None])


def _count(components: int | float, ratios: Matrix) -> int:
    if isinstance(components, float) and 0.0 < components < 1.0:
        return int(np.searchsorted(ratios.cumsum(), components - 1e-12) + 1)
    if not isinstance(components, int) or not 1 <= components <= len(ratios):
        remedy = f"give 1 … {len(ratios)}, or the part of the variance to keep"
        raise ArgumentError(f"components is {components!r}", remedy=remedy)
    return components
