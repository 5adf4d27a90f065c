"""Scores of probes as plain text: tables, a curve by depth, and for every number that is missing its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from latentext.cli.wording import columns, counted

if TYPE_CHECKING:
    from latentext.probes.judging import AddedScore
    from latentext.probes.metrics import Score
    from latentext.probes.probing import ProbeResult, SiteResult

    Scores = Mapping[str, Score]

_NAMES = {
    "r2": "R²",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "mae": "MAE",
    "rmse": "RMSE",
    "log_mae": "log-MAE",
    "log_rmse": "log-RMSE",
    "mape": "MAPE (y>5)",
    "relative_mae": "rel. MAE (y>5)",
    "spearman": "Spearman",
    "ends_within_0": "ends now",
    "ends_within_1": "within 1",
    "ends_within_5": "within 5",
    "ends_within_10": "within 10",
}
_ERRORS = ("mae", "rmse", "log_mae", "log_rmse", "mape", "relative_mae", "spearman", "macro_f1")
_TWIN = "untrained twin"
_SHUFFLED = "shuffled labels"
_BAR = 40


class Reasons:
    """Footnotes: a letter for each reason why a number is missing."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def cell(self, score: Score | None, *, interval: bool = False, sign: bool = False) -> str:
        """A score as a table cell; without a value, a dash and the letter of its reason."""
        if score is None or score.value is None:
            reason = "not defined for this target" if score is None else score.reason
            return f"- ({self._letters.setdefault(reason, chr(97 + len(self._letters)))})"
        text = f"{score.value:+.3f}" if sign else f"{score.value:.3f}"
        return f"{text} [{score.low:.3f}, {score.high:.3f}]" if interval and score.low is not None else text

    def lines(self) -> list[str]:
        return [f"({letter}) {reason}" for reason, letter in self._letters.items()]


def result_lines(result: ProbeResult) -> Iterator[str]:
    """A whole result, line by line."""
    reasons = Reasons()
    main, *horizons = result.question.compared
    parts = ", ".join(f"{part} {texts:,} texts / {rows:,} rows" for part, (texts, rows) in result.counts.items())
    yield f"{result.question.target}, {result.question.kind}: {parts}"
    if result.taking_part is not None:
        yield str(result.taking_part)
    yield ""
    yield from _comparison(result, main, reasons)
    if horizons:
        yield ""
        yield from _endings(result, horizons, reasons)
    yield ""
    yield from _errors(result, reasons)
    yield ""
    yield from curve(result.sites, main, result.labels)
    yield ""
    texts = counted(result.counts["test"][0], "text")
    yield f"Scores are of the test texts; [ ] are 95 % intervals of a bootstrap over {texts}."
    yield from reasons.lines()
    yield from (f"{name}: not made, {reason}" for name, reason in result.absent.items())
    yield from _warnings(result)


def _name(result: ProbeResult, site: SiteResult) -> str:
    return result.labels.get(site.site, site.site)


def _comparison(result: ProbeResult, metric: str, reasons: Reasons) -> list[str]:
    """The main metric: every site with what depends on it, then the baselines that know no states."""
    rows = [(_NAMES[metric], "probe", _TWIN, _SHUFFLED, "adds to the best baseline")]
    for site in result.sites:
        probe, shuffled = (
            reasons.cell(scores.get(metric), interval=True) for scores in (site.scores, site.baselines[_SHUFFLED])
        )
        added = site.added.get(metric)
        adds = reasons.cell(None) if added is None else f"{_difference(added, reasons)} over {added.over}"
        rows.append((_name(result, site), probe, _twins(site, metric), shuffled, adds))
    for name, scores in result.baselines.items():
        rows.append((name, reasons.cell(scores.get(metric), interval=True), "", "", ""))
    return columns(rows)


def _endings(result: ProbeResult, metrics: Sequence[str], reasons: Reasons) -> list[str]:
    """AUC of every horizon, and behind it what the probe adds to the best baseline."""
    rows = [("AUC, the text ends (adds)", *(_NAMES[metric].removeprefix("ends ") for metric in metrics))]
    for site in result.sites:
        cells = []
        for metric in metrics:
            added = site.added.get(metric)
            cells.append(reasons.cell(site.scores.get(metric)) + (f" ({_difference(added, reasons)})" if added else ""))
        rows.append((_name(result, site), *cells))
        if any(name.startswith(_TWIN) for name in site.baselines):
            rows.append((f"  {_TWIN}", *(_twins(site, metric) for metric in metrics)))
    for name, scores in result.baselines.items():
        rows.append((name, *(reasons.cell(scores.get(metric)) for metric in metrics)))
    return columns(rows)


def _difference(added: AddedScore, reasons: Reasons) -> str:
    return reasons.cell(added.score, interval=True, sign=True)


def _twins(site: SiteResult, metric: str) -> str:
    """Mean of the untrained twins, and their range."""
    scores = [scores[metric].value for name, scores in site.baselines.items() if name.startswith(_TWIN)]
    values = [value for value in scores if value is not None]
    if not values:
        return "-"
    mean = sum(values) / len(values)
    return f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else f"{mean:.3f}"


def _errors(result: ProbeResult, reasons: Reasons) -> list[str]:
    metrics = [metric for metric in _ERRORS if metric in result.sites[0].scores]
    rows = [("", *(_NAMES[metric] for metric in metrics))]
    scored = [(_name(result, site), site.scores) for site in result.sites] + list(result.baselines.items())
    rows += [(name, *(reasons.cell(scores.get(metric)) for metric in metrics)) for name, scores in scored]
    return columns(rows)


def curve(sites: Sequence[SiteResult], metric: str, labels: Mapping[str, str] | None = None) -> Iterator[str]:
    """The score by depth: a bar for each probe, and a bar mark where its best untrained twin stands.

    Bars begin at 0; a score below is an empty bar.
    """
    yield f"{_NAMES[metric]} by depth (| the best {_TWIN})"
    names = {site.site: (labels or {}).get(site.site, site.site) for site in sites}
    width = max(map(len, names.values()))
    for site in sites:
        name = names[site.site]
        score = site.scores[metric].value
        if score is None:
            yield f"{name:<{width}}  - {site.scores[metric].reason}"
            continue
        bar = ["█"] * _length(score) + [" "] * (_BAR - _length(score))
        twins = [s[metric].value for name, s in site.baselines.items() if name.startswith(_TWIN)]
        if known := [value for value in twins if value is not None]:
            bar[min(_BAR - 1, _length(max(known)))] = "|"
        yield f"{name:<{width}}  {''.join(bar)} {score:.3f}"


def _length(score: float) -> int:
    return round(min(max(score, 0.0), 1.0) * _BAR)


def _warnings(result: ProbeResult) -> Iterator[str]:
    """Said only where the method itself looks broken: labels without any meaning are predicted."""
    for site in result.sites:
        found = site.baselines[_SHUFFLED].get("r2")
        if found is not None and found.low is not None and found.low > 0:
            name = _name(result, site)
            yield f"warning: {name} predicts shuffled labels (R² at least {found.low:.3f}): do not trust it"
