"""Predictions of the test rows as scores with intervals, and how much one prediction adds to another.

All predictions are judged on the same rows with the same bootstrap draws, so what a probe adds over a baseline has an
interval of its own, much narrower than those of the two scores suggest. Predictions are taken block by block; what is
kept of them in memory are a few sums a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latentext.probes.bootstrap import Replicates, auc, with_interval
from latentext.probes.metrics import ClassCounts, RegressionSums, Score, ranks_by_row, spearman
from latentext.probes.on_disk import DiskRows
from latentext.probes.ranking import Sorter
from latentext.probes.rows import ProbeRows

Doubles = npt.NDArray[np.float64]
Targets = Callable[[ProbeRows, range], Doubles]
"""What was to be predicted at some rows of these."""

HORIZONS = (0, 1, 5, 10)
"""Numbers k for which "are at most k tokens still to come" is asked; 0: does the text end with the predicted token."""


def horizon_metric(k: int) -> str:
    """Name of the AUC for "at most k tokens are still to come"."""
    return f"ends_within_{k}"


def row_targets(rows: ProbeRows, numbers: range) -> Doubles:
    """The targets of rows as they are."""
    return rows.at(numbers).target


@dataclass(frozen=True)
class Prediction:
    """What a probe says of a block of rows.

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
        rows: all test rows.
        draws: of their texts.
        bins: how many bins there are; 0 where targets are not numbers of bins.
        targets: what was to be predicted.
    """

    rows: ProbeRows
    draws: Replicates
    bins: int = 0
    targets: Targets = row_targets

    def judge(self, predictions: Iterable[Prediction]) -> Judgement:
        """All metrics of the predictions of all rows, which come in their order, block by block.

        Mean absolute error, R², accuracy and AUC have intervals.
        """
        told = _Told(self)
        for prediction in predictions:
            told.add(prediction)
        scores, replicates = told.classification() if self.bins else told.regression(self._target_ranks)
        for k, ranked in told.endings.items():
            ordered = self._by_score(k, ranked)
            scores[horizon_metric(k)] = auc(ordered, self.rows.texts)
            if scores[horizon_metric(k)].value is not None:
                replicates[horizon_metric(k)] = self.draws.auc(ordered)
        known = {metric: values for metric, values in replicates.items() if scores[metric].value is not None}
        return Judgement({**scores, **{m: with_interval(scores[m], values) for m, values in known.items()}}, known)

    @cached_property
    def _target_ranks(self) -> DiskRows:
        """[rows, 1], the rank of every target."""
        sorter, ranks = Sorter(), DiskRows(1)
        for chunk in self.rows.chunks():
            sorter.add(self.targets(self.rows, chunk), np.arange(chunk.start, chunk.stop, dtype=np.float64))
        for block in ranks_by_row(sorter):
            ranks.append(block[:, None])
        return ranks

    def _by_score(
        self, k: int, ranked: Sorter
    ) -> Callable[[], Iterator[tuple[npt.NDArray[np.int64], Doubles, npt.NDArray[np.bool_]]]]:
        def ordered() -> Iterator[tuple[npt.NDArray[np.int64], Doubles, npt.NDArray[np.bool_]]]:
            for block in ranked.ascending():
                values = self.rows.at(block[:, 1].astype(np.int64))
                yield values.text, block[:, 0], values.remaining <= k

        return ordered


class _Told:
    """What has been predicted so far: sums of all rows, sums by text, and the rows in the order of each score."""

    def __init__(self, judge: Judge):
        self._judge, self._begin, self._origin = judge, 0, 0.0
        self._sums, self._counts = RegressionSums(), ClassCounts(judge.bins)
        self._by_text = np.zeros((judge.rows.texts, 5))
        self._values = Sorter()
        self.endings: dict[int, Sorter] = {}

    def add(self, prediction: Prediction) -> None:
        rows = range(self._begin, self._begin + len(prediction.values))
        target, numbers = self._judge.targets(self._judge.rows, rows), np.array(rows, np.float64)
        for k, score in prediction.ending.items():
            self.endings.setdefault(k, Sorter()).add(score, numbers)
        if self._judge.bins:
            self._counts.add(target.astype(np.int64), prediction.values.astype(np.int64))
            columns = [(prediction.values == target).astype(np.float64)]
        else:
            self._origin = self._origin if self._begin else float(target[0])
            self._sums.add(target, prediction.values)
            self._values.add(prediction.values, numbers)
            errors, moved = prediction.values - target, target - self._origin
            columns = [np.abs(errors), np.square(errors), moved, np.square(moved)]
        self._add_by_text(rows, columns)
        self._begin = rows.stop

    def _add_by_text(self, rows: range, columns: list[Doubles]) -> None:
        text = self._judge.rows.text_of(rows)
        first, last = int(text[0]), int(text[-1]) + 1
        for number, values in enumerate([*columns, np.ones(len(text))]):
            self._by_text[first:last, number] += np.bincount(text - first, values, last - first)

    def classification(self) -> tuple[dict[str, Score], dict[str, Doubles]]:
        right, rows = self._by_text[:, 0], self._by_text[:, 1]
        return self._counts.scores(), {"accuracy": self._judge.draws.means(right, rows)}

    def regression(self, target_ranks: DiskRows) -> tuple[dict[str, Score], dict[str, Doubles]]:
        errors, squares, moved, squared_moved, rows = self._by_text.T
        scores = {**self._sums.scores(), "spearman": spearman(target_ranks, self._values)}
        draws = self._judge.draws
        return scores, {"mae": draws.means(errors, rows), "r2": draws.r2(squares, moved, squared_moved, rows)}


@dataclass(frozen=True)
class AddedScore:
    """What a probe adds over the best of its baselines by one metric, with its paired interval."""

    over: str
    score: Score


def add_over_best(probe: Judgement, baselines: Mapping[str, Judgement], metric: str) -> AddedScore | None:
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
    return AddedScore(best, difference)
