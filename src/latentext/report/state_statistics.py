"""Norm, mean and standard deviation of every state of a site: one pass over its files, counts and sums only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from latentext.dataset.reader import Dataset
from latentext.dataset.states_view import StatesView
from latentext.report.state_rows import pieces
from latentext.report.streaming import Doubles, GroupedMoments, StreamedHistogram

STATISTICS = {"norm": "Euclidean norm", "mean": "mean of components", "std": "std of components"}
"""Names, and what stands at an axis. States have no unit: they are in the model's own scale."""


@dataclass(frozen=True)
class Statistic:
    """One number per state: how it is spread over all rows, and its mean at each number of remaining tokens."""

    histogram: StreamedHistogram = field(default_factory=StreamedHistogram)
    overall: GroupedMoments = field(default_factory=GroupedMoments)
    by_remaining: GroupedMoments = field(default_factory=GroupedMoments)

    def add(self, values: Doubles, remaining: Doubles) -> None:
        """Take values [n] of rows with `remaining` [n], NaN where it is not known."""
        known = np.isfinite(remaining)
        self.histogram.add(values)
        self.overall.add(np.zeros(len(values), np.int64), values)
        self.by_remaining.add(remaining[known].astype(np.int64), values[known])

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """Over all rows; there is at least one."""
        return float(self.overall.means[0]), float(self.overall.deviations[0])


@dataclass
class SiteStatistics:
    """The statistics by name of a site, which is called as people read it; the number of rows they are of, and of rows
    that are not finite."""

    site: str
    statistics: Mapping[str, Statistic] = field(default_factory=lambda: {name: Statistic() for name in STATISTICS})
    rows: int = 0
    not_finite: int = 0


def site_statistics(dataset: Dataset, view: StatesView) -> SiteStatistics:
    """Read every state of a site once."""
    site = SiteStatistics(view.label)
    for piece in pieces(dataset, view):
        finite = np.isfinite(piece.states).all(axis=1)
        site.rows += int(finite.sum())
        site.not_finite += int((~finite).sum())
        for name, values in statistics_of(piece.states[finite]).items():
            site.statistics[name].add(values, piece.remaining[finite])
    return site


def statistics_of(states: npt.NDArray[np.float32]) -> dict[str, Doubles]:
    """The three numbers of each of [n, width] states.

    Example:
        >>> {name: values.tolist() for name, values in statistics_of(np.array([[3.0, -4.0]], np.float32)).items()}
        {'norm': [5.0], 'mean': [-0.5], 'std': [3.5]}
    """
    wide = states.astype(np.float64)
    return {"norm": np.linalg.norm(wide, axis=1), "mean": wide.mean(axis=1), "std": wide.std(axis=1)}
