"""A question put to rows: the columns that probes are fitted to, and their output read as predictions.

A ridge answers for every column at the cost of one, so it predicts whether the text ends within k tokens directly. A
network answers the question alone, and the end is read off it: few remaining tokens, or much progress.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latentext.probes.baselines import shuffled
from latentext.probes.bootstrap import Replicates
from latentext.probes.division import TEST, TRAIN
from latentext.probes.fitting import Fitted, Kind, fit
from latentext.probes.judging import HORIZONS, Judge, Judgement, Prediction, horizon_metric, row_targets
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
        return Judge(test, Replicates.of(test.texts), len(self.question.bins))

    def labels(self, rows: ProbeRows, numbers: range) -> Doubles:
        """[n, columns], what probes are fitted to at some rows of a part."""
        if self.question.bins:
            return row_targets(rows, numbers)[:, None]
        known = rows.at(numbers)
        columns = {horizon_metric(k): (known.remaining <= k).astype(np.float64) for k in HORIZONS}
        if "shuffled" in self.question.columns:
            columns["shuffled"] = shuffled(rows, numbers)
        return np.column_stack([columns.get(name, known.target) for name in self.question.columns])

    def fit(self, source: StatesSource) -> dict[str, Fitted]:
        """A probe for every site of a source."""
        return fit(self.question.kind, source, self.rows, self.labels, self.training, len(self.question.bins))

    def judged(self, fitted: Fitted) -> Judgement:
        """The scores of a probe."""
        return self.judge.judge(self.read(fitted.test.blocks()))

    def read(self, output: Iterable[Doubles]) -> Iterator[Prediction]:
        """A probe's output, block by block, as predictions."""
        return (read(self.question, block) for block in output)

    @cached_property
    def _shuffled_judge(self) -> Judge:
        return replace(self.judge, targets=shuffled)

    def judged_shuffled(self, source: StatesSource, fitted: dict[str, Fitted]) -> dict[str, Judgement]:
        """For every site the scores of a probe that was fitted to shuffled labels, on shuffled labels."""
        judge = self._shuffled_judge
        if self.question.kind == "ridge":
            column = self.question.columns.index("shuffled")
            return {
                site: judge.judge(Prediction(block[:, column]) for block in one.test.blocks())
                for site, one in fitted.items()
            }
        bins = len(self.question.bins)
        again = fit(
            self.question.kind, source, self.rows, lambda rows, n: shuffled(rows, n)[:, None], self.training, bins
        )
        return {
            site: judge.judge(Prediction(block.values) for block in self.read(one.test.blocks()))
            for site, one in again.items()
        }

    def judged_mean(self) -> Judgement:
        """The scores of saying the same of every row: the mean of the training targets, or their commonest bin."""
        train, bins = self.rows.of(TRAIN), len(self.question.bins)
        targets = (row_targets(train, chunk) for chunk in train.chunks())
        if bins:
            value = float(np.sum([np.bincount(t.astype(np.int64), minlength=bins) for t in targets], axis=0).argmax())
        else:
            value = float(sum(block.sum() for block in targets) / len(train))
        endings = [k for k in HORIZONS if self.question.ending]
        return self.judge.judge(
            Prediction(np.full(len(chunk), value), {k: np.zeros(len(chunk)) for k in endings})
            for chunk in self.judge.rows.chunks()
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
