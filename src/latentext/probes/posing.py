"""A question put to rows: the columns that probes are fitted to, and their output read as predictions.

A ridge answers for every column at the cost of one, so it predicts whether the text ends within k tokens directly. A
network answers the question alone, and the end is read off it: few remaining tokens, or much progress.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latentext.probes.baselines import shuffled
from latentext.probes.bootstrap import Replicates
from latentext.probes.division import TEST, TRAIN
from latentext.probes.fitting import Fitted, Kind, fit
from latentext.probes.judging import HORIZONS, Judge, Judgement, Prediction, horizon_metric
from latentext.probes.networks import Training
from latentext.probes.rows import ProbeRows, StatesSource

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What is predicted, and how.

    Attributes:
        target: its name.
        kind: of the probes.
        bins: names of the bins where the target is one, else empty.
        ending: how the target relates to the nearness of the end: -1, the smaller the nearer (remaining); 1, the
            larger the nearer (progress); 0, not at all (one row a text).
    """

    target: str
    kind: Kind
    bins: tuple[str, ...] = ()
    ending: int = -1

    @property
    def columns(self) -> tuple[str, ...]:
        """What a probe of this question predicts, column by column; ``shuffled`` is for checking only."""
        if self.bins:
            return self.bins
        if self.kind != "ridge":
            return (self.target,)
        return (self.target, "shuffled", *(horizon_metric(k) for k in HORIZONS if self.ending))

    @property
    def compared(self) -> tuple[str, ...]:
        """The metrics by which a probe is compared with its baselines, the main one first."""
        return ("accuracy" if self.bins else "r2", *(horizon_metric(k) for k in HORIZONS if self.ending))


@dataclass(frozen=True)
class Posed:
    """A question and the rows it is put to."""

    question: Question
    rows: ProbeRows
    training: Training = field(default_factory=Training)

    @cached_property
    def judge(self) -> Judge:
        """Judges predictions of the test rows."""
        test = self.rows.of(TEST)
        draws = Replicates.of(self.rows.record[test])
        return Judge(self.rows.target[test], self.rows.remaining[test], draws, bool(self.question.bins))

    @cached_property
    def labels(self) -> Doubles:
        """[rows, columns], what probes are fitted to."""
        columns = {
            "shuffled": self._shuffled,
            **{horizon_metric(k): (self.rows.remaining <= k).astype(np.float64) for k in HORIZONS},
        }
        if self.question.bins:
            return self.rows.target[:, None]
        return np.column_stack([columns.get(name, self.rows.target) for name in self.question.columns])

    @cached_property
    def _shuffled(self) -> Doubles:
        return shuffled(self.rows.target, self.rows.part)

    def fit(self, source: StatesSource) -> dict[str, Fitted]:
        """A probe for every site of a source."""
        return fit(self.question.kind, source, self.rows, self.labels, self.training, len(self.question.bins))

    def judged(self, fitted: Fitted) -> Judgement:
        """The scores of a probe."""
        return self.judge.judge(read(self.question, fitted.test))

    def judged_shuffled(self, source: StatesSource, fitted: dict[str, Fitted]) -> dict[str, Judgement]:
        """For every site the scores of a probe that was fitted to shuffled labels, on shuffled labels."""
        judge = replace(self.judge, target=self._shuffled[self.rows.of(TEST)])
        if self.question.kind == "ridge":
            column = self.question.columns.index("shuffled")
            values = {site: one.test[:, column] for site, one in fitted.items()}
        else:
            bins = len(self.question.bins)
            again = fit(self.question.kind, source, self.rows, self._shuffled[:, None], self.training, bins)
            values = {site: read(self.question, one.test).values for site, one in again.items()}
        return {site: judge.judge(Prediction(one)) for site, one in values.items()}

    def judged_mean(self) -> Judgement:
        """The scores of saying the same of every row: the mean of the training targets, or their commonest bin."""
        known = self.rows.target[self.rows.of(TRAIN)]
        value = float(np.bincount(known.astype(np.int64)).argmax()) if self.question.bins else float(known.mean())
        count = len(self.judge.target)
        return self.judge.judge(
            Prediction(np.full(count, value), {k: np.zeros(count) for k in HORIZONS if self.question.ending})
        )


def read(question: Question, output: Doubles) -> Prediction:
    """A probe's output [rows, columns] as a prediction."""
    if question.bins:
        expected = output @ np.arange(output.shape[1])
        ending = {k: question.ending * expected for k in HORIZONS if question.ending}
        return Prediction(output.argmax(axis=1).astype(np.float64), ending)
    values = output[:, question.columns.index(question.target)]
    if question.kind != "ridge":
        return Prediction(values, {k: question.ending * values for k in HORIZONS if question.ending})
    columns = {k: question.columns.index(horizon_metric(k)) for k in HORIZONS if question.ending}
    return Prediction(values, {k: output[:, column] for k, column in columns.items()})
