"""Predictions of the test rows as scores with intervals, and how much one prediction adds to another.

All predictions are judged on the same rows with the same bootstrap draws, so what a probe adds over a baseline has an
interval of its own, much narrower than those of the two scores suggest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from latentext.probes.bootstrap import Replicates, with_interval
from latentext.probes.metrics import Score, auc, classification_scores, regression_scores

Doubles = npt.NDArray[np.float64]

HORIZONS = (0, 1, 5, 10)
"""Numbers k for which "are at most k tokens still to come" is asked; 0: does the text end with the predicted token."""


def horizon_metric(k: int) -> str:
    """Name of the AUC for "at most k tokens are still to come"."""
    return f"ends_within_{k}"


@dataclass(frozen=True)
class Prediction:
    """What a probe says of every test row.

    Attributes:
        values: [rows], the predicted target, or the number of the likeliest bin.
        ending: for each horizon a score [rows] that is the higher, the sooner the text ends; empty where a target has
            nothing to say about it.
    """

    values: Doubles
    ending: Mapping[int, Doubles] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """Scores by metric, and their bootstrap replicates where a metric has them."""

    scores: Mapping[str, Score]
    replicates: Mapping[str, Doubles] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Judge:
    """The test rows: what was to be predicted, and the draws of their texts.

    Attributes:
        bins: whether targets are numbers of bins.
    """

    target: Doubles
    remaining: npt.NDArray[np.int64]
    draws: Replicates
    bins: bool = False

    def judge(self, prediction: Prediction) -> Judgement:
        """All metrics of a prediction; mean absolute error, R², accuracy and AUC with intervals."""
        values, target = prediction.values, self.target
        if self.bins:
            scores = classification_scores(target.astype(np.int64), values.astype(np.int64))
            replicates = {"accuracy": self.draws.means((values == target).astype(np.float64))}
        else:
            scores = regression_scores(target, values)
            replicates = {"mae": self.draws.means(np.abs(values - target)), "r2": self.draws.r2(target, values)}
        for k, score in prediction.ending.items():
            positive = self.remaining <= k
            scores[horizon_metric(k)] = auc(positive, score)
            if scores[horizon_metric(k)].value is not None:
                replicates[horizon_metric(k)] = self.draws.auc(positive, score)
        known = {metric: values for metric, values in replicates.items() if scores[metric].value is not None}
        return Judgement({**scores, **{m: with_interval(scores[m], values) for m, values in known.items()}}, known)


@dataclass(frozen=True)
class Added:
    """What a probe adds over the best of its baselines by one metric, with its paired interval."""

    over: str
    score: Score


def add_over_best(probe: Judgement, baselines: Mapping[str, Judgement], metric: str) -> Added | None:
    """The difference to the baseline with the highest score; None where the probe or every baseline has none.

    The best baseline is found on the same test rows, which is to the probe's disadvantage, if anything.
    """
    own = probe.scores.get(metric)
    values = {name: judged.scores[metric].value for name, judged in baselines.items() if metric in judged.scores}
    known = {name: value for name, value in values.items() if value is not None}
    if own is None or own.value is None or not known:
        return None
    best = max(known, key=lambda name: known[name])
    difference = Score(own.value - known[best])
    if metric in probe.replicates and metric in baselines[best].replicates:
        pairs = probe.replicates[metric], baselines[best].replicates[metric]
        difference = with_interval(difference, pairs[0] - pairs[1])
    return Added(best, difference)
