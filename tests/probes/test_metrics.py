"""Metrics against scikit-learn and SciPy; where there is no value, a reason."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score, roc_auc_score

from latentext.probes.bootstrap import Replicates, with_interval
from latentext.probes.metrics import Score, auc, classification_scores, regression_scores


@pytest.fixture
def lengths() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 40, 300).astype(float)
    return target, np.round(target + rng.normal(size=300) * 6)  # Rounded, so that there are ties; some below 0.


def test_errors_follow_their_definitions(lengths: tuple[np.ndarray, np.ndarray]) -> None:
    target, predicted = lengths
    scores = regression_scores(target, predicted)
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


def test_auc_is_that_of_scikit_learn_with_ties(lengths: tuple[np.ndarray, np.ndarray]) -> None:
    target, predicted = lengths
    assert auc(target <= 5, -predicted).value == pytest.approx(roc_auc_score(target <= 5, -predicted), rel=1e-12)


def test_classification_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target, predicted = rng.integers(0, 4, 200), rng.integers(1, 6, 200)
    scores = classification_scores(target, predicted)
    assert scores["accuracy"].value == pytest.approx(accuracy_score(target, predicted))
    assert scores["macro_f1"].value == pytest.approx(f1_score(target, predicted, average="macro", zero_division=0))


def test_what_is_not_defined_has_a_reason_and_never_a_nan() -> None:
    flat = regression_scores(np.full(4, 3.0), np.arange(4.0))
    assert (flat["r2"].value, flat["r2"].reason) == (None, "all targets are the same")
    assert flat["mape"].reason == "no targets above 5"
    guess = regression_scores(np.arange(4.0), np.full(4, 3.0))
    assert (guess["spearman"].value, guess["spearman"].reason) == (None, "all predictions are the same")
    assert auc(np.ones(3, bool), np.arange(3.0)).reason == "all rows are of one kind"


def test_a_replicate_is_the_metric_of_the_repeated_rows(lengths: tuple[np.ndarray, np.ndarray]) -> None:
    target, predicted = lengths
    record = np.repeat(np.arange(30), 10)
    draws = Replicates.of(record)
    found_r2, found_auc = draws.r2(target, predicted), draws.auc(target <= 5, -predicted)
    found_mae = draws.means(np.abs(target - predicted))
    for number in range(5):
        drawn = np.repeat(np.arange(30), draws.weights[number].astype(int))
        rows = np.concatenate([np.flatnonzero(record == text) for text in drawn])
        assert found_r2[number] == pytest.approx(r2_score(target[rows], predicted[rows]))
        assert found_mae[number] == pytest.approx(mean_absolute_error(target[rows], predicted[rows]))
        assert found_auc[number] == pytest.approx(roc_auc_score(target[rows] <= 5, -predicted[rows]))


def test_intervals_are_of_texts_and_not_of_their_rows() -> None:
    rng = np.random.default_rng(0)
    errors = np.repeat(rng.exponential(size=20), 50)  # All rows of a text have the same error.
    by_text = with_interval(Score(float(errors.mean())), Replicates.of(np.repeat(np.arange(20), 50)).means(errors))
    by_row = with_interval(Score(float(errors.mean())), Replicates.of(np.arange(1000)).means(errors))
    assert by_text.low is not None and by_text.high is not None and by_row.low is not None and by_row.high is not None
    assert by_text.high - by_text.low > 4 * (by_row.high - by_row.low)
