"""Statistics of numbers that pass by once: exact counts, in memory that does not grow with how many there are."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass
class StreamedHistogram:
    """Counts in bins of equal width 2^k, whose number stays at most `bins`.

    The range need not be known before: where a value lies too far out, neighbouring bins are merged two by two, so no
    count is ever moved to another place than its own.

    Example:
        >>> histogram = StreamedHistogram(bins=4)
        >>> for values in ([0.0, 1.0, 1.1], [7.0]):
        ...     histogram.add(np.array(values))
        >>> edges, counts = histogram.bars()
        >>> edges.tolist(), counts.tolist()
        ([0.0, 2.0, 4.0, 6.0, 8.0], [3, 0, 0, 1])
    """

    bins: int = 60
    _exponent: int | None = None
    _counts: Counter[int] = field(default_factory=Counter)

    def add(self, values: Doubles) -> None:
        """Count finite values."""
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        if self._exponent is None:
            self._exponent = _finest(low, high, self.bins)
        while self._bins_needed(low, high) > self.bins:
            self._merge()
        # Not the floor of a quotient: half of the smallest negative number is rounded to zero, a bin too far up.
        places, counts = np.unique((values // 2.0**self._exponent).astype(np.int64), return_counts=True)
        self._counts.update(dict(zip(places.tolist(), counts.tolist(), strict=True)))

    def bars(self) -> tuple[Doubles, npt.NDArray[np.int64]]:
        """Edges [n + 1] and counts [n] from the first bin that holds something to the last."""
        if self._exponent is None:
            return np.zeros(1), np.zeros(0, np.int64)
        first, last = min(self._counts), max(self._counts)
        counts = np.array([self._counts[place] for place in range(first, last + 1)], np.int64)
        return np.arange(first, last + 2, dtype=np.float64) * np.float64(2.0**self._exponent), counts

    def _bins_needed(self, low: float, high: float) -> int:
        width = 2.0 ** (self._exponent or 0)
        places = [*self._counts, int(low // width), int(high // width)]
        return max(places) - min(places) + 1

    def _merge(self) -> None:
        self._exponent = (self._exponent or 0) + 1
        merged: Counter[int] = Counter()
        for place, count in self._counts.items():
            merged[place >> 1] += count
        self._counts = merged


def _finest(low: float, high: float, bins: int) -> int:
    """Exponent of a width that is too fine rather than too coarse for these values; equal ones get 1/1000 of theirs."""
    spread = (high - low) or max(abs(low), abs(high)) * bins / 1000 or 1.0
    return math.floor(math.log2(max(spread / bins, sys.float_info.min)))


@dataclass
class GroupedMoments:
    """Count, mean and standard deviation of values by group; groups are whole numbers from 0.

    Sums are taken about the first value seen, because a sum of squares of large, similar numbers would lose the digits
    that their deviation is made of.

    Example:
        >>> moments = GroupedMoments()
        >>> moments.add(np.array([0, 0, 2]), np.array([1.0, 3.0, 5.0]))
        >>> moments.counts.tolist(), moments.means.tolist(), moments.deviations.tolist()
        ([2, 0, 1], [2.0, nan, 5.0], [1.0, nan, 0.0])
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _origin: float | None = None
    _sums: Doubles = field(default_factory=lambda: np.zeros(0))
    _squares: Doubles = field(default_factory=lambda: np.zeros(0))

    def add(self, groups: npt.NDArray[np.int64], values: Doubles) -> None:
        """Take values [n] of groups [n]."""
        if not len(values):
            return
        self._origin = float(values[0]) if self._origin is None else self._origin
        about = values - self._origin
        self.counts = _plus(self.counts, np.bincount(groups)).astype(np.int64)
        self._sums = _plus(self._sums, np.bincount(groups, about))
        self._squares = _plus(self._squares, np.bincount(groups, np.square(about)))

    @property
    def means(self) -> Doubles:
        """Of each group; NaN where it is empty."""
        return self._divided(self._sums) + (self._origin or 0.0)

    @property
    def deviations(self) -> Doubles:
        """Population standard deviation of each group; NaN where it is empty."""
        variance = self._divided(self._squares) - np.square(self._divided(self._sums))
        return np.sqrt(np.maximum(variance, 0.0))

    def _divided(self, sums: Doubles) -> Doubles:
        filled = self.counts > 0
        return np.where(filled, sums / np.where(filled, self.counts, 1), np.nan)


def _plus(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The sum of two arrays, the shorter one filled up with zeros."""
    longer = np.zeros(max(len(one), len(other)), other.dtype)
    longer[: len(one)] += one
    longer[: len(other)] += other
    return longer
