"""Metrics against scikit-learn and SciPy, taken block by block; where there is no value, a reason."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score, roc_auc_score
from tests.probes.made import made_rows

from latentext.dataset.targets import TokenRows
from latentext.probes.bootstrap import Ordered, Replicates, auc, with_interval
from latentext.probes.judging import Judge, Judgement, Prediction
from latentext.probes.metrics import ClassCounts, Score
from latentext.probes.rows import ProbeRows

Lengths = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def lengths() -> Lengths:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 40, 300).astype(float)
    return target, np.round(target + rng.normal(size=300) * 6)  # Rounded, so that there are ties; some below 0.


def rows_with(target: np.ndarray, texts: int = 30) -> ProbeRows:
    """Rows of texts of equal length, whose targets are these numbers one after the other."""

    def given(rows: TokenRows) -> np.ndarray:
        return target[rows.record * (len(target) // texts) + rows.step]

    return made_rows([len(target) // texts] * texts, given)


def judged(target: np.ndarray, predicted: np.ndarray, texts: int = 1, block: int = 37) -> Judgement:
    rows = rows_with(target, texts)
    pieces = (Prediction(predicted[begin : begin + block]) for begin in range(0, len(predicted), block))
    return Judge(rows, Replicates.of(texts)).judge(pieces)


def by_score(texts: np.ndarray, score: np.ndarray, positive: np.ndarray, block: int = 7) -> Ordered:
    order = np.argsort(score, kind="stable")

    def ordered() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for begin in range(0, len(order), block):
            rows = order[begin : begin + block]
            yield texts[rows], score[rows], positive[rows]

    return ordered


def test_errors_follow_their_definitions(lengths: Lengths) -> None:
    target, predicted = lengths
    scores = judged(target, predicted).scores
    large = target > 5
    expected = {
        "mae": mean_absolute_error(target, predicted),
        "rmse": np.sqrt(np.mean((target - predicted) ** 2)),
        "log_mae": np.mean(np.abs(np.log(1 + np.clip(predicted, 0, None)) - np.log(1 + target))),
        "mape": np.mean(np.abs(target - predicted)[large] / target[large]),
        "relative_mae": np.abs(target - predicted)[large].sum() / target[large].sum(),
        "r2": r2_score(target, predicted),
        "spearman": spearmanr(target, predicted).statistic,
    }
    for metric, value in expected.items():
        assert scores[metric].value == pytest.approx(value, rel=1e-12), metric


def test_auc_is_that_of_scikit_learn_with_ties(lengths: Lengths) -> None:
    target, predicted = lengths
    expected = roc_auc_score(target <= 5, -predicted)
    for block in (1, 7, 300):  # Ties of up to twenty rows go on in the next block.
        ordered = by_score(np.zeros(300, int), -predicted, target <= 5, block)
        assert auc(ordered, 1).value == pytest.approx(expected, rel=1e-12)


def test_classification_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target, predicted = rng.integers(0, 4, 200), rng.integers(1, 6, 200)
    counts = ClassCounts(7)
    for part in (slice(0, 50), slice(50, 200)):
        counts.add(target[part], predicted[part])
    scores = counts.scores()
    assert scores["accuracy"].value == pytest.approx(accuracy_score(target, predicted))
    assert scores["macro_f1"].value == pytest.approx(f1_score(target, predicted, average="macro", zero_division=0))


def test_what_is_not_defined_has_a_reason_and_never_a_nan() -> None:
    flat = judged(np.full(4, 3.3), np.arange(4.0)).scores
    assert (flat["r2"].value, flat["r2"].reason) == (None, "all targets are the same")
    assert (flat["spearman"].value, flat["spearman"].reason) == (None, "all targets are the same")
    assert flat["mape"].reason == "no targets above 5"
    guess = judged(np.arange(4.0), np.full(4, 3.0)).scores
    assert (guess["spearman"].value, guess["spearman"].reason) == (None, "all predictions are the same")
    one_kind = auc(by_score(np.zeros(3, int), np.arange(3.0), np.ones(3, bool)), 1)
    assert one_kind.reason == "all rows are of one kind"


def test_a_replicate_is_the_metric_of_the_repeated_rows(lengths: Lengths) -> None:
    target, predicted = lengths
    record = np.repeat(np.arange(30), 10)
    replicates = judged(target, predicted, texts=30).replicates
    draws = Replicates.of(30)
    found_auc = draws.auc(by_score(record, -predicted, target <= 5))
    for number in range(5):
        drawn = np.repeat(np.arange(30), draws.weights.read(number, number + 1)[0].astype(int))
        rows = np.concatenate([np.flatnonzero(record == text) for text in drawn])
        assert replicates["r2"][number] == pytest.approx(r2_score(target[rows], predicted[rows]))
        assert replicates["mae"][number] == pytest.approx(mean_absolute_error(target[rows], predicted[rows]))
        assert found_auc[number] == pytest.approx(roc_auc_score(target[rows] <= 5, -predicted[rows]))


def test_intervals_are_of_texts_and_not_of_their_rows() -> None:
    rng = np.random.default_rng(0)
    errors = np.repeat(rng.exponential(size=20), 50)  # All rows of a text have the same error.
    by_text = Replicates.of(20).means(errors.reshape(20, 50).sum(axis=1), np.full(20, 50.0))
    by_row = Replicates.of(1000).means(errors, np.ones(1000))
    wide, narrow = (with_interval(Score(float(errors.mean())), found) for found in (by_text, by_row))
    assert wide.low is not None and wide.high is not None and narrow.low is not None and narrow.high is not None
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)
