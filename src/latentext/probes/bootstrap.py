"""Intervals by a bootstrap over texts: the rows of one text are one observation, however many they are.

The steps of a text share its length and its content, so a bootstrap over rows would call a hundred steps of one text
a hundred witnesses. Texts are drawn with replacement; a replicate is a weight for each text, and every metric here is
computed from weights without repeating rows. The same draws serve all predictions, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latentext.probes.metrics import Score, undefined
from latentext.probes.on_disk import DiskRows

Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Ordered = Callable[[], Iterable[tuple[Numbers, Doubles, npt.NDArray[np.bool_]]]]
"""Gives, as often as it is called, rows in the order of a score: (number of the text, score, whether positive)."""

REPLICATES = 1_000
RANK_REPLICATES = 200
"""Replicates of metrics that need a sum over all rows each, instead of one over texts."""

_MOST_WEIGHTS = 20_000_000
"""Where more weights would be drawn, there are fewer replicates."""

_ELEMENTS = 500_000
"""Numbers in memory at a time while weights of rows are expanded."""


@dataclass(frozen=True)
class Replicates:
    """Weights of texts under each bootstrap draw.

    Attributes:
        weights: [replicates, texts], how often each text was drawn; on the disk.
        texts: how many there are.
    """

    weights: DiskRows
    texts: int

    @classmethod
    def of(cls, texts: int, seed: int = 0) -> Replicates:
        """Draws of this many texts: `REPLICATES`, and fewer where texts are very many."""
        weights = DiskRows(texts)
        rng = np.random.default_rng(seed)
        for group in _groups(max(RANK_REPLICATES, min(REPLICATES, _MOST_WEIGHTS // texts)), texts):
            weights.append(rng.multinomial(texts, np.full(texts, 1 / texts), size=len(group)).astype(np.float64))
        return cls(weights, texts)

    def totals(self, sums: Doubles) -> Doubles:
        """[replicates, values]: sums over the rows of each draw, from those over the rows of a text [texts, values]."""
        return np.concatenate([self.weights.read(g.start, g.stop) @ sums for g in self._groups(len(self.weights))])

    def means(self, sums: Doubles, rows: Doubles) -> Doubles:
        """[replicates], the mean over the rows of each draw, from its sum and the number of rows by text [texts]."""
        totals = self.totals(np.column_stack([sums, rows]))
        return np.asarray(totals[:, 0] / totals[:, 1], np.float64)

    def r2(self, squared_errors: Doubles, moved: Doubles, squared_moved: Doubles, rows: Doubles) -> Doubles:
        """[replicates], R² of each draw; NaN where all its targets are the same.

        Args:
            squared_errors, moved, squared_moved, rows: by text [texts], sums of (predicted - target)², of
                target - c and (target - c)² for any c that is the same for all, and the number of rows.
        """
        wrong, first, second, count = self.totals(np.column_stack([squared_errors, moved, squared_moved, rows])).T
        about_mean = second - np.square(first) / count
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 1 - wrong / about_mean
        return np.where(about_mean > 1e-9 * count, found, np.nan)

    def auc(self, ordered: Ordered) -> Doubles:
        """[`RANK_REPLICATES`], AUC of the first draws; NaN where a draw has rows of one kind only."""
        return np.concatenate([_auc(ordered(), self.weights.read(g.start, g.stop)) for g in self._groups()])

    def _groups(self, count: int = RANK_REPLICATES) -> Iterator[range]:
        return _groups(min(count, len(self.weights)), self.texts)


def auc(ordered: Ordered, texts: int) -> Score:
    """Chance that a random positive row has a higher score than a random negative one, ties counting half.

    Example:
        >>> rows = (np.zeros(3, int), np.array([0.1, 0.9, 0.9]), np.array([False, True, False]))
        >>> auc(lambda: [rows], 1).value
        0.75
    """
    value = float(_auc(ordered(), np.ones((1, texts)))[0])
    return Score(value) if np.isfinite(value) else undefined("all rows are of one kind")


def with_interval(score: Score, replicates: Doubles) -> Score:
    """The score with the middle 95 % of its replicates, those left out in which it is not defined."""
    defined = replicates[np.isfinite(replicates)]
    if score.value is None or len(defined) < len(replicates) / 2:
        return score
    low, high = np.percentile(defined, [2.5, 97.5])
    return replace(score, low=float(low), high=float(high))


def _auc(blocks: Iterable[tuple[Numbers, Doubles, npt.NDArray[np.bool_]]], weights: Doubles) -> Doubles:
    """[replicates]: pairs of a positive row with a negative one below it, ties counting half, over all such pairs."""
    below, pairs, positives = (np.zeros(len(weights)) for _ in range(3))
    # The rows of one score may go on in the next block, so the last score of a block waits.
    key, tied_positives, tied_negatives = np.nan, *(np.zeros(len(weights)) for _ in range(2))
    for text, score, hit in _pieces(blocks, max(1, _ELEMENTS // len(weights))):
        starts = np.flatnonzero(np.diff(score, prepend=np.nan) != 0)
        expanded = weights[:, text]
        up = np.add.reduceat(np.where(hit, expanded, 0.0), starts, axis=1)
        down = np.add.reduceat(np.where(hit, 0.0, expanded), starts, axis=1)
        positives += up.sum(axis=1)
        if score[0] == key:
            up[:, 0] += tied_positives
            down[:, 0] += tied_negatives
        else:
            pairs += tied_positives * (below + tied_negatives / 2)
            below += tied_negatives
        ends = np.cumsum(down, axis=1)
        pairs += (up[:, :-1] * (below[:, None] + ends[:, :-1] - down[:, :-1] / 2)).sum(axis=1)
        below += ends[:, -1] - down[:, -1]
        key, tied_positives, tied_negatives = score[-1], up[:, -1].copy(), down[:, -1].copy()
    pairs += tied_positives * (below + tied_negatives / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(pairs / (positives * (below + tied_negatives)), np.float64)


def _pieces(
    blocks: Iterable[tuple[Numbers, Doubles, npt.NDArray[np.bool_]]], size: int
) -> Iterator[tuple[Numbers, Doubles, npt.NDArray[np.bool_]]]:
    for text, score, hit in blocks:
        for begin in range(0, len(score), size):
            piece = slice(begin, begin + size)
            yield text[piece], score[piece], hit[piece]


def _groups(count: int, texts: int) -> Iterator[range]:
    """Numbers of replicates whose weights are in memory together."""
    step = max(1, _ELEMENTS // texts)
    for start in range(0, count, step):
        yield range(start, min(start + step, count))
