"""Intervals by a bootstrap over texts: the rows of one text are one observation, however many they are.

The steps of a text share its length and its content, so a bootstrap over rows would call a hundred steps of one text
a hundred witnesses. Texts are drawn with replacement; a replicate is a weight for each text, and every metric here is
computed from weights without repeating rows. The same draws serve all predictions, so differences are paired.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latentext.probes.metrics import Score

Doubles = npt.NDArray[np.float64]

REPLICATES = 1_000
RANK_REPLICATES = 200
"""Replicates of metrics that need a sum over all rows each, instead of one over texts."""

_ELEMENTS = 4_000_000
"""Numbers in memory at a time while weights of rows are expanded."""


@dataclass(frozen=True)
class Replicates:
    """Weights of texts under each bootstrap draw.

    Attributes:
        text: [rows], the number of each row's text, from 0.
        weights: [replicates, texts], how often each text was drawn.
    """

    text: npt.NDArray[np.int64]
    weights: Doubles

    @classmethod
    def of(cls, record: npt.NDArray[np.int64], seed: int = 0) -> Replicates:
        """Draws for rows that belong to these records: `REPLICATES`, and fewer where texts are very many."""
        texts, text = np.unique(record, return_inverse=True)
        count = max(RANK_REPLICATES, min(REPLICATES, 5 * _ELEMENTS // len(texts)))
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(texts), np.full(len(texts), 1 / len(texts)), size=count)
        return cls(text, drawn.astype(np.float64))

    def totals(self, values: Doubles) -> Doubles:
        """[replicates], the sum of a value [rows] over the rows of each draw."""
        return np.asarray(self.weights @ np.bincount(self.text, values, self.weights.shape[1]), np.float64)

    def means(self, values: Doubles) -> Doubles:
        """[replicates], the mean of a value over the rows of each draw."""
        return self.totals(values) / self.totals(np.ones(len(values)))

    def r2(self, target: Doubles, predicted: Doubles) -> Doubles:
        """[replicates], R² of each draw; NaN where all its targets are the same."""
        moved = target - target.mean()
        rows = self.totals(np.ones(len(target)))
        about_mean = self.totals(np.square(moved)) - np.square(self.totals(moved)) / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 1 - self.totals(np.square(predicted - target)) / about_mean
        return np.where(about_mean > 1e-9 * rows, found, np.nan)

    def auc(self, positive: npt.NDArray[np.bool_], score: Doubles) -> Doubles:
        """[`RANK_REPLICATES`], AUC of the first draws; NaN where a draw has rows of one kind only."""
        order = np.argsort(score, kind="stable")
        _, tie, counts = np.unique(score[order], return_inverse=True, return_counts=True)
        last = np.cumsum(counts) - 1
        text, hit = self.text[order], positive[order]
        found = []
        step = max(1, _ELEMENTS // max(1, len(score)))
        for start in range(0, min(RANK_REPLICATES, len(self.weights)), step):
            weights = self.weights[start : min(start + step, RANK_REPLICATES)][:, text]
            negatives = np.where(hit, 0.0, weights)
            below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(negatives, axis=1)[:, last]], axis=1)
            middle = (below[:, tie] + below[:, tie + 1]) / 2  # Ties count half.
            positives = np.where(hit, weights, 0.0)
            pairs = positives.sum(axis=1) * negatives.sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append((middle * positives).sum(axis=1) / pairs)
        return np.concatenate(found)


def with_interval(score: Score, replicates: Doubles) -> Score:
    """The score with the middle 95 % of its replicates, those left out in which it is not defined."""
    defined = replicates[np.isfinite(replicates)]
    if score.value is None or len(defined) < len(replicates) / 2:
        return score
    low, high = np.percentile(defined, [2.5, 97.5])
    return replace(score, low=float(low), high=float(high))
