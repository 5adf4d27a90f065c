"""How good predictions are, each metric by its definition; one that is not defined says why instead of being NaN.

Lengths have heavy tails, so absolute, logarithmic and relative errors stand side by side. Rank metrics use average
ranks for ties: Spearman is the correlation of ranks, AUC the Mann-Whitney statistic over the number of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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


def regression_scores(target: Doubles, predicted: Doubles) -> dict[str, Score]:
    """MAE, RMSE, both of log(1 + y), MAPE and relative MAE for y > 5, R² and Spearman; [n] each.

    Predictions below zero count as zero in the logarithmic metrics only. MAPE is the mean of |error| / y, relative MAE
    the sum of |error| over the sum of y; both are shares, not percent.

    Example:
        >>> scores = regression_scores(np.array([0.0, 10.0]), np.array([1.0, 8.0]))
        >>> scores["mae"].value, scores["mape"].value, scores["r2"].value
        (1.5, 0.2, 0.9)
        >>> regression_scores(np.array([3.0, 3.0]), np.array([1.0, 2.0]))["r2"].reason
        'all targets are the same'
    """
    errors = np.abs(predicted - target)
    logs = np.abs(np.log1p(np.maximum(predicted, 0.0)) - np.log1p(target))
    large = target > LARGE
    few = f"no targets above {LARGE}"
    return {
        "mae": Score(float(errors.mean())),
        "rmse": Score(float(np.sqrt(np.square(errors).mean()))),
        "log_mae": Score(float(logs.mean())),
        "log_rmse": Score(float(np.sqrt(np.square(logs).mean()))),
        "mape": Score(float((errors[large] / target[large]).mean())) if large.any() else undefined(few),
        "relative_mae": Score(float(errors[large].sum() / target[large].sum())) if large.any() else undefined(few),
        "r2": r2(target, predicted),
        "spearman": spearman(target, predicted),
    }


def r2(target: Doubles, predicted: Doubles) -> Score:
    """1 - (sum of squared errors) / (sum of squares about the mean of these targets)."""
    about_mean = float(np.square(target - target.mean()).sum())
    if about_mean == 0.0:
        return undefined("all targets are the same")
    return Score(1.0 - float(np.square(predicted - target).sum()) / about_mean)


def spearman(target: Doubles, predicted: Doubles) -> Score:
    """Correlation of average ranks."""
    if np.ptp(target) == 0.0:
        return undefined("all targets are the same")
    if np.ptp(predicted) == 0.0:
        return undefined("all predictions are the same")
    return Score(float(np.corrcoef(average_ranks(target), average_ranks(predicted))[0, 1]))


def auc(positive: npt.NDArray[np.bool_], score: Doubles) -> Score:
    """Chance that a random positive row has a higher score than a random negative one, ties counting half.

    Example:
        >>> auc(np.array([True, False, False]), np.array([0.9, 0.1, 0.9])).value
        0.75
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return undefined("all rows are of one kind")
    above = average_ranks(score)[positive].sum() - positives * (positives + 1) / 2
    return Score(float(above / (positives * negatives)))


def classification_scores(target: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> dict[str, Score]:
    """Accuracy, and macro-F1: the mean of F1 over the classes that occur in target or prediction.

    Example:
        >>> scores = classification_scores(np.array([0, 0, 1]), np.array([0, 1, 1]))
        >>> round(scores["accuracy"].value, 3), round(scores["macro_f1"].value, 3)
        (0.667, 0.667)
    """
    f1 = []
    for label in np.union1d(target, predicted):
        both = int(((target == label) & (predicted == label)).sum())
        either = int((target == label).sum() + (predicted == label).sum())
        f1.append(2 * both / either)
    return {"accuracy": Score(float((target == predicted).mean())), "macro_f1": Score(float(np.mean(f1)))}


def average_ranks(values: npt.NDArray[np.float64]) -> Doubles:
    """Ranks from 1; equal values share the mean of theirs.

    Example:
        >>> average_ranks(np.array([3.0, 1.0, 3.0])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[which], np.float64)
