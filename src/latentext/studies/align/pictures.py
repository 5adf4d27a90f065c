"""Pictures of a λ on a bank: rewards before and after, levels against targets, what the samples carry, the frontier.

Every picture takes the bank and λ and computes what it shows; none reads texts (`examples` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.projections.polar import PolarAxes
from numpy.typing import ArrayLike

from latentext.errors import SpecError
from latentext.report.picture import BLUE, GREEN, GREY, ORANGE, RED, Picture, Skipped, Subject, canvas, label
from latentext.studies.align import Bank, FrontierPoint, Solution, diagnose, sweep, tilt
from latentext.studies.align.diagnosis import FEW_SAMPLES

REWARDS = Subject("rewards_before_and_after", "Rewards before and after")
LEVELS = Subject("levels", "Levels against targets")
SIZES = Subject("effective_sample_size", "Effective sample size by strength of λ")
FRONTIER = Subject("frontier", "Frontier")
RADAR = Subject("radar", "Values together")

_BINS = 40
_STRENGTHS = np.concatenate([np.linspace(0.0, 1.0, 9), np.linspace(1.25, 4.0, 12)])
_BUDGETS = (0.1, 0.3, 1.0)
_REPLICATES = 200
_COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)


def rewards_before_and_after(bank: Bank, lam: ArrayLike) -> Picture | Skipped:
    """Histograms of each reward over all samples, as sampled and as weighted by λ."""
    weights = tilt(bank, lam).weights.ravel() / bank.prompts
    rows = -(-len(bank.names) // 3)
    with canvas(width=9.0, height=2.6 * rows) as (figure, _):
        figure.clear()
        grid = figure.subplots(rows, min(3, len(bank.names)), squeeze=False).ravel()
        for panel, column, name in zip(grid, bank.rewards.reshape(-1, len(bank.names)).T, bank.names, strict=False):
            edges = np.histogram_bin_edges(column, _BINS)
            panel.hist(
                column, edges, weights=np.full(len(column), 1 / len(column)), color=GREY, alpha=0.55, label="base"
            )
            panel.hist(column, edges, weights=weights, histtype="step", color=BLUE, linewidth=1.6, label="by λ")
            label(panel, name, "share")
        for panel in grid[len(bank.names) :]:
            panel.set_axis_off()
        grid[0].legend()
        found = diagnose(bank, lam, replicates=_REPLICATES)
        numbers = {
            name: f"mean {base:.4g} before, {level:.4g} after"
            for name, base, level in zip(bank.names, found.base_levels, found.levels, strict=True)
        }
        caption = f"{bank.prompts:,} prompts × {bank.samples} samples; after: each sample counts by its weight."
        return REWARDS.drawn(figure, caption, numbers)


def levels_against_targets(bank: Bank, lam: ArrayLike, solution: Solution | None = None) -> Picture | Skipped:
    """Shift of each level in standard deviations of its reward, with 95 % intervals, beside what was asked for."""
    found = diagnose(bank, lam)
    scale = np.where(bank.spreads > 0, bank.spreads, 1.0)
    places = np.arange(len(bank.names))
    targets = dict(zip(solution.names, solution.target, strict=True)) if solution else {}
    with canvas(width=max(5.0, 1.3 * len(bank.names) + 2), height=3.8) as (figure, (panel,)):
        panel.axhline(0.0, color=GREY, linewidth=0.8)
        reach = 1.96 * found.shift_errors / scale
        panel.errorbar(places, found.shifts / scale, reach, fmt="o", color=BLUE, capsize=4, label="realised by λ")
        asked = [place for place, name in enumerate(bank.names) if name in targets]
        if asked:
            wanted = [(targets[bank.names[i]] - bank.base_levels[i]) / scale[i] for i in asked]
            panel.plot(asked, wanted, "_", color=RED, markersize=24, markeredgewidth=2, label="target (at least)")
        panel.set_xticks(places, bank.names, rotation=20 if len(bank.names) > 4 else 0)
        panel.set_xlim(-0.6, len(bank.names) - 0.4)
        label(panel, "", "shift of the level (standard deviations)")
        panel.legend()
        numbers = {
            name: _level_in_words(found.base_levels[i], found.levels[i], found.level_errors[i], targets.get(name))
            for i, name in enumerate(bank.names)
        }
        caption = "Mean over prompts of the weighted mean reward; intervals are 95 %, from a bootstrap over prompts."
        return LEVELS.drawn(figure, caption, numbers)


def effective_sample_size(bank: Bank, lam: ArrayLike) -> Picture | Skipped:
    """How many samples of a prompt count, as λ is made stronger or weaker."""
    direction = np.atleast_1d(np.asarray(lam, dtype=np.float64))
    if not direction.any():
        return SIZES.skipped("λ is 0: all samples count alike")
    with np.errstate(over="ignore"):  # `tilt` says which λ is too large.
        sizes = np.array([tilt(bank, strength * direction).effective_sample_size for strength in _STRENGTHS])
    low, middle, high = np.quantile(sizes, [0.1, 0.5, 0.9], axis=1)
    with canvas(width=6.4) as (figure, (panel,)):
        panel.fill_between(_STRENGTHS, low, high, color=BLUE, alpha=0.18, linewidth=0, label="10 % to 90 % of prompts")
        panel.plot(_STRENGTHS, middle, color=BLUE, label="median")
        panel.axhline(FEW_SAMPLES, color=RED, linewidth=1, label=f"{FEW_SAMPLES:g}: too few")
        panel.axvline(1.0, color=GREY, linewidth=1, linestyle=":")
        panel.set_ylim(0.0, bank.samples * 1.03)
        label(panel, "strength: times this λ", f"effective sample size (of {bank.samples})")
        panel.legend()
        at_one = sizes[int(np.argmin(np.abs(_STRENGTHS - 1.0)))]
        numbers = {
            "mean at this λ": f"{at_one.mean():.2f} of {bank.samples}",
            f"prompts under {FEW_SAMPLES:g}": f"{(at_one < FEW_SAMPLES).mean():.1%}",
        }
        return SIZES.drawn(figure, "1 / Σ w² of each prompt (Kish). The dotted line is the λ of this report.", numbers)


def frontier(bank: Bank, lam: ArrayLike, names: Sequence[str] = ()) -> Picture | Skipped:
    """The frontier of two values: those named, or else those with the strongest λ."""
    pair = list(names) or _two_values(bank, lam)
    if len(pair) < 2:
        return FRONTIER.skipped("takes two values that differ between the samples of a prompt")
    budgets = tuple(budget for budget in _BUDGETS if budget < 0.9 * np.log(bank.samples))
    try:
        points = sweep(bank, pair[:2], budgets=budgets, replicates=_REPLICATES)
    except SpecError as error:
        return FRONTIER.skipped(error.what)
    found = diagnose(bank, lam, replicates=_REPLICATES)
    x, y = (bank.index_of(name) for name in pair[:2])
    with canvas(width=5.6, height=4.4) as (figure, (panel,)):
        for budget, colour in zip(budgets, _COLOURS, strict=False):
            _draw_frontier(panel, [point for point in points if point.budget == budget], x, y, colour)
        panel.plot(*bank.base_levels[[x, y]], "o", color=GREY, label="base")
        errors = {"xerr": found.level_errors[x], "yerr": found.level_errors[y]}
        panel.errorbar(found.levels[x], found.levels[y], **errors, fmt="D", color=RED, label="this λ")
        label(panel, f"level of {pair[0]}", f"level of {pair[1]}")
        panel.legend()
        ends = [point for point in points if not point.direction.all()]
        numbers = {
            f"{point.budget:g} nats, {pair[int(point.direction[1] > 0)]} alone": (
                f"{point.diagnosis.levels[x]:.4g}, {point.diagnosis.levels[y]:.4g}"
            )
            for point in ends
        }
        caption = "Levels within reach for a given mean divergence from the base model (nats), with ± 1 standard error."
        return FRONTIER.drawn(figure, caption, numbers)


def radar(bank: Bank, lam: ArrayLike) -> Picture | Skipped:
    """All values on one wheel: how far their levels are from each prompt's worst sample to its best."""
    if len(bank.names) < 3:
        return RADAR.skipped(f"takes three values, and the bank has {len(bank.names)}")
    found = diagnose(bank, lam, replicates=2)
    worst, best = bank.rewards.min(axis=1).mean(axis=0), bank.rewards.max(axis=1).mean(axis=0)
    room = np.where(best > worst, best - worst, 1.0)
    before, after = ((levels - worst) / room for levels in (found.base_levels, found.levels))
    angles = np.linspace(0.0, 2 * np.pi, len(bank.names), endpoint=False)
    with canvas(width=5.2, height=4.8) as (figure, _):
        figure.clear()
        panel = cast(PolarAxes, figure.add_subplot(projection="polar"))
        for share, colour, name in ((before, GREY, "base"), (after, BLUE, "by λ")):
            closed = np.append(share, share[0])
            panel.plot(np.append(angles, angles[0]), closed, color=colour, label=name)
            panel.fill(np.append(angles, angles[0]), closed, color=colour, alpha=0.12)
        panel.set_xticks(angles, bank.names)
        panel.set_ylim(0.0, 1.0)
        panel.set_yticks([0.25, 0.5, 0.75], ["25 %", "50 %", "75 %"])
        figure.legend(loc="lower right")
        shares = zip(bank.names, before, after, strict=True)
        numbers = {name: f"{one:.1%} before, {other:.1%} after" for name, one, other in shares}
        caption = "The centre is each prompt's worst sample by that value alone, the rim its best."
        return RADAR.drawn(figure, caption, numbers)


def _level_in_words(base: float, level: float, error: float, target: float | None) -> str:
    asked = "" if target is None else f" (target {target:.4g})"
    return f"{base:.4g} → {level:.4g} ± {1.96 * error:.2g}{asked}"


def _two_values(bank: Bank, lam: ArrayLike) -> list[str]:
    """The two values with the strongest λ, in standard deviations, of those that a tilt can move."""
    strengths = np.abs(np.atleast_1d(np.asarray(lam, dtype=np.float64))) * bank.spreads
    moving = np.ptp(bank.rewards, axis=1).any(axis=0)
    order = [int(place) for place in np.argsort(-strengths, kind="stable") if moving[place]]
    return [bank.names[place] for place in sorted(order[:2])]


def _draw_frontier(panel: Axes, points: Sequence[FrontierPoint], x: int, y: int, colour: str) -> None:
    if not points:
        return
    levels = np.array([point.diagnosis.levels for point in points])
    errors = np.array([point.diagnosis.level_errors for point in points])
    style: dict[str, Any] = {"color": colour, "marker": ".", "elinewidth": 0.7}
    panel.errorbar(levels[:, x], levels[:, y], errors[:, y], errors[:, x], label=f"{points[0].budget:g} nats", **style)
