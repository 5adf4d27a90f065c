"""Pictures of probes: their scores by site beside what they must beat, and predictions beside what was true.

Scores are those that probing logged below ``DIR/probes``; they are read here as a file of the dataset. Predictions
need the probe itself, so the caller makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from pydantic import BaseModel, ValidationError

from latentext.dataset.captures import labels
from latentext.dataset.reader import Dataset
from latentext.probes.taking_part import LeftOut, TakingPart
from latentext.report.picture import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    Picture,
    Skipped,
    Subject,
    canvas,
    in_lines,
    label,
    name_sites,
)
from latentext.storage import filesystem

SCORES = Subject("probe_scores", "Probe scores by site")
PREDICTED = Subject("predicted_against_actual", "Predicted against actual")

PROBES, RESULTS = "probes", "results.json"

_METRICS = {"r2": "R²", "accuracy": "accuracy", "ends_within_1": "AUC, at most 1 to come"}
_COLOURS = {
    "mean": GREY,
    "step": GREEN,
    "step + prompt length": "#8bbf3f",
    "count - step": RED,
    "shuffled labels": "#8b6b4a",
    "untrained twin": ORANGE,
}
_LINES = ("#7a5aa6", "#3aa5b8", "#c464a4")
"""Of baselines that have no colour of their own."""
_MOST_POINTS = 3000


class LoggedScore(BaseModel):
    """A metric's value and the 95 % interval of its bootstrap over texts, each where there is one."""

    value: float | None
    low: float | None = None
    high: float | None = None


Scores = Mapping[str, LoggedScore]


class LoggedSite(BaseModel):
    """The scores of one site's probe, and of the baselines that depend on the site."""

    site: str
    label: str = ""
    scores: Scores
    baselines: Mapping[str, Scores]


class LoggedPart(BaseModel):
    """How many texts and rows a part has."""

    texts: int
    rows: int


class LoggedCounts(BaseModel):
    """The part that scores are of; the other parts are not shown."""

    test: LoggedPart


class LoggedReason(BaseModel):
    """Texts and rows that take no part for one reason."""

    reason: str
    texts: int
    rows: int


class LoggedParts(BaseModel):
    """How many texts and rows take part, and the others by reason."""

    taking_part: LoggedPart
    left_out: list[LoggedReason]

    def __str__(self) -> str:
        reasons = tuple(LeftOut(left.reason, left.texts, left.rows) for left in self.left_out)
        return str(TakingPart(self.taking_part.texts, self.taking_part.rows, reasons))


class LoggedResults(BaseModel):
    """What a picture needs of a file of probe results; those of 0.1.0 do not say who takes part."""

    counts: LoggedCounts
    taking_part: LoggedParts | None = None
    baselines: Mapping[str, Scores]
    absent: Mapping[str, str]
    sites: list[LoggedSite]


@dataclass(frozen=True)
class Predictions:
    """What a probe says of rows that it was not fitted to.

    Attributes:
        name: of the folder that holds the probe.
        site: as people read it.
        target: what is predicted, and `unit` in what.
        actual, predicted: [rows].
        taking_part: how many of all texts and rows, and why the others do not, in words.
    """

    name: str
    site: str
    target: str
    unit: str
    actual: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.float64]
    taking_part: str = ""


def result_files(dataset: Dataset) -> list[Path]:
    """The logged results of all probes below the dataset's directory, by name."""
    return sorted((dataset.directory / PROBES).glob(f"*/{RESULTS}"))


def probe_scores(dataset: Dataset, path: Path) -> Picture | Skipped:
    """Scores by site with intervals, as a line for the probe and one for each baseline.

    Args:
        path: one of `result_files`.
    """
    name = path.parent.name
    subject = Subject(f"{SCORES.name}_{name}", f"{SCORES.title}: {name}")
    try:
        results = LoggedResults.model_validate_json(filesystem.read_bytes(path))
    except (OSError, ValidationError) as error:
        return subject.skipped(f"{path.name} cannot be read ({str(error).splitlines()[0]}): probe again")
    called = labels(dataset.captures)
    order = list(called)
    results.sites.sort(key=lambda logged: order.index(logged.site) if logged.site in order else len(order))
    for logged in results.sites:
        logged.label = logged.label or called.get(logged.site, logged.site)
    metrics = [metric for metric in _METRICS if any(metric in site.scores for site in results.sites)]
    if not metrics:
        return subject.skipped("no site has a score")
    with canvas(len(metrics), width=max(7.0, 5.2 * len(metrics)), height=6.0) as (figure, axes):
        for metric, panel in zip(metrics, axes, strict=True):
            _draw_metric(panel, results, metric)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
        test = results.counts.test
        title = f"{name}: n = {test.rows:,} test rows of {test.texts:,} texts"
        figure.suptitle(
            title + ("" if results.taking_part is None else f"\n{in_lines(str(results.taking_part), figure)}")
        )
        caption = f"As logged in {PROBES}/{name}/{RESULTS}; bars are 95 % intervals of a bootstrap over texts. "
        caption += "" if results.taking_part is None else f"Of the dataset, {results.taking_part}. "
        caption += "".join(f"Not made: {baseline} ({reason}). " for baseline, reason in results.absent.items())
        numbers = {site.label: _in_words(site.scores, metrics) for site in results.sites}
        return subject.drawn(figure, caption + ("R² is cut off below -1." if "r2" in metrics else ""), numbers)


def predicted_against_actual(found: Predictions) -> Picture | Skipped:
    """Predictions over the truth, a point a row, and the diagonal on which they should lie."""
    subject = Subject(f"{PREDICTED.name}_{found.name}", f"{PREDICTED.title}: {found.name}")
    rows = len(found.actual)
    if not rows:
        return subject.skipped("there are no test rows")
    chosen = np.sort(np.random.default_rng(0).choice(rows, min(rows, _MOST_POINTS), replace=False))
    ends = float(found.actual.min()), float(found.actual.max())
    with canvas(width=5.6, height=5.2) as (figure, (panel,)):
        panel.plot(ends, ends, color=GREY, linewidth=1, label="predicted = actual")
        panel.scatter(found.actual[chosen], found.predicted[chosen], s=8, alpha=0.4, color=BLUE, linewidths=0)
        label(panel, f"actual {found.target} ({found.unit})", f"predicted {found.target} ({found.unit})")
        panel.set_title(f"{found.site}: n = {rows:,} test rows, {len(chosen):,} drawn")
        if found.taking_part:
            figure.suptitle(in_lines(found.taking_part, figure), fontsize=9)
        panel.legend(loc="upper left")
        error = float(np.abs(found.predicted - found.actual).mean())
        numbers = {"mean absolute error": f"{error:.4g} {found.unit}"}
        caption = "Rows of test texts only, which the probe was not fitted to."
        caption += f" Of the dataset, {found.taking_part}." if found.taking_part else ""
        return subject.drawn(figure, caption, numbers)


def _draw_metric(panel: Axes, results: LoggedResults, metric: str) -> None:
    places = np.arange(len(results.sites))
    _line(panel, places, [site.scores.get(metric) for site in results.sites], color=BLUE, label="probe", marker="o")
    for number, (name, scores) in enumerate(results.baselines.items()):
        _level(panel, scores.get(metric), color=_COLOURS.get(name, _LINES[number % len(_LINES)]), label=name)
    of_sites = dict.fromkeys(name for site in results.sites for name in site.baselines)
    for number, name in enumerate(of_sites):
        by_site = [site.baselines.get(name, {}).get(metric) for site in results.sites]
        beside = places + 0.05 * (number + 1)  # So that intervals do not hide each other.
        colour = _COLOURS.get(name.split(",")[0], _LINES[number % len(_LINES)])
        shade = {"alpha": 1.0 - 0.25 * (number % 3), "markersize": 5}
        _line(panel, beside, by_site, color=colour, label=name, linestyle=":", marker="_", linewidth=1.2, **shade)
    name_sites(panel, [_without_pool(site.label) for site in results.sites])
    panel.set_xlim(-0.5, len(places) - 0.5)
    if metric == "r2":
        panel.set_ylim(max(-1.0, panel.get_ylim()[0]), 1.02)
    label(panel, "site, by depth", f"{_METRICS[metric]} (1 is best)")


def _without_pool(label: str) -> str:
    """The title of a picture names the folder, and with it the pooling."""
    return label.split(" (")[0]


def _line(panel: Axes, places: npt.NDArray[Any], scores: list[LoggedScore | None], **style: Any) -> None:
    """A line with intervals; where a score or an interval is missing, so is its part of the line."""

    def bound(score: LoggedScore | None, name: str) -> float:
        value = None if score is None else getattr(score, name)
        return np.nan if value is None else float(value)

    values, lows, highs = (np.array([bound(score, name) for score in scores]) for name in ("value", "low", "high"))
    if np.isfinite(values).any():
        reach = np.nan_to_num(np.maximum([values - lows, highs - values], 0.0))
        panel.errorbar(places, values, reach, capsize=2, elinewidth=0.8, **style)


def _level(panel: Axes, score: LoggedScore | None, **style: Any) -> None:
    """A baseline that is the same at every site: a line across, with its interval as a band."""
    if score is None or score.value is None:
        return
    panel.axhline(score.value, linestyle="--", linewidth=1.2, **style)
    if score.low is not None and score.high is not None:
        panel.axhspan(score.low, score.high, color=style["color"], alpha=0.12, linewidth=0)


def _in_words(scores: Scores, metrics: list[str]) -> str:
    known = {metric: scores[metric].value for metric in metrics if metric in scores}
    return ", ".join(f"{_METRICS[metric]} {value:.4f}" for metric, value in known.items() if value is not None)
