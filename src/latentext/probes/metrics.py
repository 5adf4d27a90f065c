"""How good predictions are, each metric by its definition; one that is not defined says why instead of being NaN.

Lengths have heavy tails, so absolute, logarithmic and relative errors stand side by side. Rank metrics use average
ranks for ties: Spearman is the correlation of ranks, AUC the Mann-Whitney statistic over the number of pairs.

Everything is a sum over rows, or follows from their order, so rows are taken block by block and none is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentext.probes.on_disk import DiskRows
from latentext.probes.ranking import Sorter

Doubles = npt.NDArray[np.float64]

LARGE = 5
"""Relative errors are taken over targets above this: of 1 remaining token, an error of 1 is 100 %."""


@dataclass(frozen=True)
class Score:
    """A metric's value, or why it has none.

    `low` and `high` bound the 95 % interval of a bootstrap over texts, where one was made.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def undefined(reason: str) -> Score:
    """A score without a value."""
    return Score(None, reason=reason)


class RegressionSums:
    """What the errors of a regression add up to: MAE, RMSE, both of log(1 + y), MAPE, relative MAE and R².

    Predictions below zero count as zero in the logarithmic metrics only. MAPE is the mean of |error| / y for y > 5,
    relative MAE the sum of |error| over the sum of y for y > 5; both are shares, not percent.

    Example:
        >>> sums = RegressionSums()
        >>> sums.add(np.array([0.0, 10.0]), np.array([1.0, 8.0]))
        >>> scores = sums.scores()
        >>> scores["mae"].value, scores["mape"].value, scores["r2"].value
        (1.5, 0.2, 0.9)
    """

    def __init__(self) -> None:
        self._rows, self._large_rows = 0, 0
        self._origin = 0.0
        self._errors, self._logs, self._moved = np.zeros(2), np.zeros(2), np.zeros(2)
        self._large_shares = self._large_errors = self._large_targets = 0.0

    def add(self, target: Doubles, predicted: Doubles) -> None:
        """Take a block of rows, [n] each."""
        if self._rows == 0 and len(target):
            self._origin = float(target[0])  # Sums of differences from it keep their digits; R² does not depend on it.
        errors = np.abs(predicted - target)
        logs = np.abs(np.log1p(np.maximum(predicted, 0.0)) - np.log1p(target))
        self._rows += len(target)
        for sums, values in ((self._errors, errors), (self._logs, logs), (self._moved, target - self._origin)):
            sums += values.sum(), np.square(values).sum()
        large = target > LARGE
        self._large_rows += int(large.sum())
        self._large_shares += float((errors[large] / target[large]).sum())
        self._large_errors += float(errors[large].sum())
        self._large_targets += float(target[large].sum())

    def scores(self) -> dict[str, Score]:
        """The metrics of all rows so far, of which there is one at least."""
        mean_error, mean_square = self._errors / self._rows
        mean_log, mean_square_log = self._logs / self._rows
        few = undefined(f"no targets above {LARGE}")
        return {
            "mae": Score(float(mean_error)),
            "rmse": Score(float(np.sqrt(mean_square))),
            "log_mae": Score(float(mean_log)),
            "log_rmse": Score(float(np.sqrt(mean_square_log))),
            "mape": Score(self._large_shares / self._large_rows) if self._large_rows else few,
            "relative_mae": Score(self._large_errors / self._large_targets) if self._large_rows else few,
            "r2": self._r2(),
        }

    def _r2(self) -> Score:
        """1 - (sum of squared errors) / (sum of squares about the mean of these targets)."""
        if self._moved[1] == 0.0:
            return undefined("all targets are the same")
        about_mean = self._moved[1] - self._moved[0] ** 2 / self._rows
        return Score(float(1.0 - self._errors[1] / about_mean))


class ClassCounts:
    """How often each label was predicted for each: accuracy and macro-F1.

    Macro-F1 is the mean of F1 over the classes that occur in target or prediction.

    Example:
        >>> counts = ClassCounts(2)
        >>> counts.add(np.array([0, 0, 1]), np.array([0, 1, 1]))
        >>> round(counts.scores()["accuracy"].value, 3), round(counts.scores()["macro_f1"].value, 3)
        (0.667, 0.667)
    """

    def __init__(self, classes: int):
        self._counts = np.zeros((classes, classes), np.int64)

    def add(self, target: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> None:
        """Take a block of rows, [n] each, of numbers below the number of classes."""
        np.add.at(self._counts, (target, predicted), 1)

    def scores(self) -> dict[str, Score]:
        """The metrics of all rows so far, of which there is one at least."""
        right, either = np.diag(self._counts), self._counts.sum(axis=0) + self._counts.sum(axis=1)
        occurs = either > 0
        f1 = 2 * right[occurs] / either[occurs]
        return {"accuracy": Score(float(right.sum() / self._counts.sum())), "macro_f1": Score(float(f1.mean()))}


def ranks_by_row(values: Sorter) -> Iterator[Doubles]:
    """Average ranks in the order of the rows, for pairs (value, row number)."""
    by_row = Sorter()
    for rows, ranks in values.ranked():
        by_row.add(rows, ranks)
    for block in by_row.ascending():
        yield block[:, 1]


def spearman(target_ranks: DiskRows, predicted: Sorter) -> Score:
    """Correlation of average ranks.

    Args:
        target_ranks: [rows, 1], ranks of the targets.
        predicted: pairs (prediction, row number).
    """
    rows, begin = len(target_ranks), 0
    products = np.zeros(3)
    for ranks in ranks_by_row(predicted):
        mine = ranks - (rows + 1) / 2
        theirs = target_ranks.read(begin, begin + len(ranks))[:, 0] - (rows + 1) / 2
        products += (mine * theirs).sum(), np.square(mine).sum(), np.square(theirs).sum()
        begin += len(ranks)
    if products[2] == 0.0:
        return undefined("all targets are the same")
    if products[1] == 0.0:
        return undefined("all predictions are the same")
    return Score(float(products[0] / np.sqrt(products[1] * products[2])))
