"""Pictures of states: how large they are, how that depends on what is still to come, how it grows with depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentext.dataset.captures import labels
from latentext.dataset.reader import Dataset
from latentext.dataset.states_view import StatesView
from latentext.report.picture import BLUE, GREY, ORANGE, Picture, Skipped, Subject, canvas, label, name_sites
from latentext.report.state_rows import (
    deepest_view,
    deepest_view_in_texts,
    pool_to_draw,
    sample_rows,
    sites_by_depth,
    view_of,
)
from latentext.report.state_statistics import STATISTICS, SiteStatistics, Statistic, site_statistics, statistics_of

HISTOGRAMS = Subject("state_histograms", "Size of states")
AGAINST_REMAINING = Subject("state_against_remaining", "Size of states against remaining tokens")
BY_LAYER = Subject("norm_by_layer", "Norm of states by depth")

Known = dict[str, SiteStatistics]

_MOST_POINTS = 2000
_WIDE = 20
"""Norms that differ by more than this are drawn on a logarithmic axis: on another, small ones are all at zero."""


def state_histograms(dataset: Dataset, known: Known | None = None) -> Picture | Skipped:
    """Norm, mean and standard deviation of the states of the deepest site, over all its rows.

    Args:
        known: statistics of sites that were read before; what is read now is added.
    """
    view = deepest_view(dataset)
    if isinstance(view, str):
        return HISTOGRAMS.skipped(view)
    site = _read(dataset, view, known)
    if not site.rows:
        return HISTOGRAMS.skipped(_nothing_finite(site))
    with canvas(len(STATISTICS), width=11.0, height=3.4) as (figure, axes):
        for (name, axis), panel in zip(STATISTICS.items(), axes, strict=True):
            edges, counts = site.statistics[name].histogram.bars()
            panel.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=BLUE, edgecolor="white", lw=0.3)
            panel.axvline(site.statistics[name].mean_and_deviation[0], color=ORANGE, label="mean")
            label(panel, f"{axis} (model's scale)", "rows per bin")
        axes[0].legend()
        figure.suptitle(f"{site.site}: n = {site.rows:,} states of width {view.width}")
        numbers = {f"{name}, mean ± std": _spread(statistic) for name, statistic in site.statistics.items()}
        return HISTOGRAMS.drawn(figure, f"All states of {site.site}.{_left_out(site)}", numbers)


def state_against_remaining(dataset: Dataset, known: Known | None = None, seed: int = 0) -> Picture | Skipped:
    """The same numbers over the remaining tokens: the mean of all rows, and a sample of rows as points.

    `known` is as in `state_histograms`.
    """
    view = deepest_view_in_texts(dataset)
    if isinstance(view, str):
        return AGAINST_REMAINING.skipped(view)
    site = _read(dataset, view, known)
    rows = int(site.statistics["norm"].by_remaining.counts.sum())
    if not rows:
        return AGAINST_REMAINING.skipped("no finite state belongs to a text that ended by itself")
    sample = sample_rows(dataset, view, _MOST_POINTS, seed)
    shown = np.isfinite(sample.remaining) & np.isfinite(sample.states).all(axis=1)
    points = statistics_of(sample.states[shown])
    with canvas(len(STATISTICS), width=11.0, height=3.4) as (figure, axes):
        for (name, axis), panel in zip(STATISTICS.items(), axes, strict=True):
            panel.scatter(sample.remaining[shown], points[name], s=5, color=GREY, alpha=0.25, linewidths=0)
            _draw_mean(panel, site.statistics[name])
            label(panel, "remaining tokens", f"{axis} (model's scale)")
        axes[0].legend()
        figure.suptitle(f"{site.site}: n = {rows:,} states, {int(shown.sum()):,} of them drawn as points")
        caption = "Line and band: mean ± std over all rows at each number of remaining tokens. Points: rows by seed "
        return AGAINST_REMAINING.drawn(
            figure, f"{caption}{seed}. Texts without a known length are left out.{_left_out(site)}"
        )


def norm_by_layer(dataset: Dataset, known: Known | None = None) -> Picture | Skipped:
    """Mean ± standard deviation of the norm at every captured site, all rows; `known` as in `state_histograms`."""
    sites, pool = sites_by_depth(dataset), pool_to_draw(dataset)
    if len(sites) < 2:
        return BY_LAYER.skipped(f"takes two sites, and {len(sites)} was captured")
    views = [view_of(dataset, name) for name in sites]
    read = {view.site: _read(dataset, view, known) for view in views if not isinstance(view, str)}
    shown = [name for name, site in read.items() if site.rows]
    found = [read[name] for name in shown]
    if not found:
        return BY_LAYER.skipped(next((view for view in views if isinstance(view, str)), "no state is finite"))
    spreads = [site.statistics["norm"].mean_and_deviation for site in found]
    means, deviations = (np.array(column) for column in zip(*spreads, strict=True))
    with canvas(width=max(6.0, 1.5 + 0.42 * len(found)), height=4.8) as (figure, (panel,)):
        places = np.arange(len(found))
        panel.errorbar(places, means, deviations, color=BLUE, marker="o", capsize=3, label="mean ± std over rows")
        name_sites(panel, [labels(dataset.captures)[name] for name in shown])
        wide = means.max() > _WIDE * means.min() and (means > deviations).all()
        panel.set_yscale("log" if wide else "linear")
        if wide:  # matplotlib's own labels of powers are formulas, which `picture` does not read.
            panel.yaxis.set_major_formatter("{x:g}")
        else:
            panel.set_ylim(bottom=0)
        label(panel, "site, by depth", f"Euclidean norm (model's scale{', log axis' if wide else ''})")
        rows = sorted({site.rows for site in found})
        panel.set_title(
            f"n = {' to '.join(f'{count:,}' for count in dict.fromkeys((rows[0], rows[-1])))} states per site"
            + ("" if pool == "none" else f", one per text ({pool})")
        )
        panel.legend()
        numbers = {site.site: _spread(site.statistics["norm"]) for site in found}
        caption = "Of all states of each site; final_norm is after the last norm, which sets its own scale."
        return BY_LAYER.drawn(figure, caption + "".join(map(_left_out, found)), numbers)


def _read(dataset: Dataset, view: StatesView, known: Known | None) -> SiteStatistics:
    """The statistics of a site; all its states are read, so what is known is not read again."""
    known = {} if known is None else known
    if view.site not in known:
        known[view.site] = site_statistics(dataset, view)
    return known[view.site]


def _draw_mean(panel: Axes, statistic: Statistic) -> None:
    moments = statistic.by_remaining
    places = np.flatnonzero(moments.counts)
    means, deviations = moments.means[places], moments.deviations[places]
    style: dict[str, Any] = {"color": ORANGE}
    panel.plot(places, means, label="mean ± std", marker="." if len(places) < 3 else "", **style)
    panel.fill_between(places, means - deviations, means + deviations, alpha=0.25, linewidth=0, **style)


def _spread(statistic: Statistic) -> str:
    mean, deviation = statistic.mean_and_deviation
    return f"{mean:.5g} ± {deviation:.5g}"


def _left_out(site: SiteStatistics) -> str:
    return f" {site.not_finite:,} states of {site.site} that are not finite are left out." if site.not_finite else ""


def _nothing_finite(site: SiteStatistics) -> str:
    return f"none of the {site.not_finite:,} states of {site.site} is finite"
