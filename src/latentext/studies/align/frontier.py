r"""The frontier of two or three values: how much of each can be had for a given distance from the base model.

Among all weights with a mean divergence of at most δ from uniform, those that maximise u·(levels) have the form
exp(s·u·r), with one strength s for all prompts (the exponential tilt is the projection; Csiszár 1975). So the frontier
at δ is traced by turning the direction u and finding, for each, the s at which the divergence is δ.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentext.errors import SpecError
from latentext.studies.align.bank import Bank, Floats
from latentext.studies.align.diagnosis import Diagnosis, diagnose
from latentext.studies.align.optimisers import scipy_optimize
from latentext.studies.align.weights import Weights, log_normalise, scores

_STRONGEST = 1e4  # In standard deviations: far beyond it the best sample has all the weight and nothing moves.


@dataclass(frozen=True, eq=False)
class FrontierPoint:
    """One point of the frontier.

    Attributes:
        budget: the mean divergence it was found for, in nats.
        direction: unit vector over the swept values, in standard deviations: float64 [2 or 3].
        diagnosis: λ (0 for values that are not swept), levels with errors, and effective sample size.
    """

    budget: float
    direction: Floats
    diagnosis: Diagnosis


def sweep(
    bank: Bank,
    names: Sequence[str],
    *,
    budgets: Sequence[float] = (0.1, 0.3, 1.0),
    steps: int = 8,
    replicates: int = 200,
) -> list[FrontierPoint]:
    """Trace the frontier of two or three values.

    Args:
        names: the values to trade; levels are diagnosed for all values of the bank.
        budgets: mean divergences in nats; each below log N.
        steps: directions between one value and the next: `steps` + 1 for two values, a triangle of them for three.
        replicates: bootstrap replicates of each diagnosis.

    Returns:
        Points by budget, then direction. A budget that the bank cannot spend in a direction (ties end it below log N)
        gives no point there.

    Raises:
        SpecError: not two or three values, an unknown one, one that never varies within a prompt, or an impossible
            budget.
    """
    if len(names) not in (2, 3) or len(set(names)) != len(names):
        raise SpecError(f"a frontier is drawn for two or three different values, not {', '.join(names) or 'none'}")
    limit = math.log(bank.samples)
    impossible = [budget for budget in budgets if not 0.0 < budget < limit]
    if impossible:
        raise SpecError(
            f"no divergence of {impossible[0]:g} nats with {bank.samples} samples a prompt",
            remedy=f"give budgets between 0 and log N = {limit:.3f}",
        )
    columns = [bank.index_of(name) for name in names]
    still = [
        name for name, column in zip(names, columns, strict=True) if not np.ptp(bank.rewards[:, :, column], 1).any()
    ]
    if still:
        raise SpecError(f"{', '.join(still)} never differs between samples of a prompt: there is nothing to trade")
    points = []
    for budget, direction in itertools.product(budgets, _directions(len(names), steps)):
        unit = np.zeros(len(bank.names))
        with np.errstate(over="ignore"):
            unit[columns] = direction / bank.spreads[columns]
        if not np.isfinite(unit).all():
            raise SpecError("these rewards differ by so little that λ overflows", remedy="multiply them by a constant")
        strength = _strength(scores(bank, unit), budget)
        if strength is not None:
            points.append(FrontierPoint(budget, direction, diagnose(bank, strength * unit, replicates=replicates)))
    return points


def _directions(values: int, steps: int) -> list[Floats]:
    """Unit vectors with no negative part, evenly spread, from the first value alone to the last alone."""
    if values == 2:
        angles = np.linspace(0.0, math.pi / 2, steps + 1)
        # cos(π/2) is 6e-17, not 0: rounding keeps the axes exact.
        return [np.round([math.cos(angle), math.sin(angle)], 15) for angle in angles]
    lattice = [(i, j, steps - i - j) for i in range(steps, -1, -1) for j in range(steps - i, -1, -1)]
    return [np.array(point) / np.linalg.norm(point) for point in lattice]


def _strength(tilted: Floats, budget: float) -> float | None:
    """The factor of `tilted` at which the mean divergence is `budget`; it grows with the factor."""

    def excess(strength: float) -> float:
        # The divergence begins like strength²: its root is nearly straight, which is what root finding likes.
        return math.sqrt(Weights(log_normalise(strength * tilted)).divergence.mean()) - math.sqrt(budget)

    high = 1.0
    while excess(high) < 0.0:
        if high > _STRONGEST:
            return None
        high *= 2.0
    return float(scipy_optimize().brentq(excess, 0.0, high, xtol=1e-9, rtol=1e-9))
