"""A picture of states in the plane of their two first principal components, coloured by remaining tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from latentext.dataset.reader import Dataset
from latentext.report.picture import Picture, Skipped, Subject, canvas, label, remaining_norm, remaining_scale
from latentext.report.state_rows import deepest_view_in_texts, sample_rows

COMPONENTS = Subject("components", "States in the plane of their principal components")

_MOST_ROWS = 2000
"""A scatter plot of more shows no more, and the eigenvectors of [n, n] stay a matter of seconds at any width."""


def principal_components(dataset: Dataset, seed: int = 0) -> Picture | Skipped:
    """Principal components of a sample of rows of the deepest site."""
    view = deepest_view_in_texts(dataset)
    if isinstance(view, str):
        return COMPONENTS.skipped(view)
    sample = sample_rows(dataset, view, _MOST_ROWS, seed)
    shown = np.isfinite(sample.remaining) & np.isfinite(sample.states).all(axis=1)
    if shown.sum() < 3:
        return COMPONENTS.skipped(f"takes three finite states of texts that ended by themselves, and has {shown.sum()}")
    places, shares = project(sample.states[shown])
    remaining = sample.remaining[shown]
    with canvas(width=7.0, height=5.0) as (figure, (panel,)):
        style: dict[str, Any] = {"s": 9, "alpha": 0.8, "linewidths": 0, "norm": remaining_norm(remaining.max())}
        points = panel.scatter(places[:, 0], places[:, 1], c=1 + remaining, **style)
        remaining_scale(figure, panel, points, int(remaining.max()))
        axes = [f"component {k + 1} ({100 * share:.1f} % of variance)" for k, share in enumerate(shares)]
        label(panel, *axes)
        panel.set_title(f"{view.label}: n = {len(remaining):,} states")
        caption = f"Rows drawn by seed {seed}, centred, not scaled; those of texts without a known length are left out."
        numbers = {f"variance of component {k + 1}": f"{100 * share:.2f} %" for k, share in enumerate(shares)}
        return COMPONENTS.drawn(figure, caption, numbers)


def project(states: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """Places [n, 2] in the plane of the first two principal components, and each component's share of the variance.

    From the eigenvectors of the smaller of covariance [width, width] and Gram matrix [n, n], which have the same
    eigenvalues. A component's sign is free: its largest place is made positive.

    Example:
        >>> places, shares = project(np.array([[0, 0], [0, 3], [0, 9]], np.float32))
        >>> places.round(6).tolist(), shares
        ([[-4.0, 0.0], [-1.0, 0.0], [5.0, 0.0]], (1.0, 0.0))
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    rows, width = centred.shape
    small = centred.T @ centred if width < rows else centred @ centred.T
    values, vectors = np.linalg.eigh(small)
    values, vectors = np.maximum(values[:-3:-1], 0.0), vectors[:, :-3:-1]
    places = centred @ vectors if width < rows else vectors * np.sqrt(values)
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    largest = np.take_along_axis(places, np.abs(places).argmax(axis=0)[None], axis=0)
    total = float(np.trace(small)) or 1.0
    shares = [float(value) / total for value in values]
    return places * np.where(largest < 0, -1.0, 1.0), (shares[0], shares[1] if len(shares) > 1 else 0.0)
