r"""How far towards a target a bank can go at all: a linear programme, asked before any λ is looked for.

The largest fraction t of the way from the base levels b to the target c is the linear programme

    max t   such that   mean_x Σ_j w_xj r_xj ≥ b + t (c - b),   w_x in the simplex of prompt x's samples.

Written out it has prompts × samples unknowns. Solved by Dantzig–Wolfe decomposition it stays small: for given prices
λ ≥ 0 each prompt's best answer is the sample with the largest λ·r, one argmax over the bank; the mean of those answers
is a vertex of the set of reachable levels, and a programme with one unknown a vertex found so far gives the next
prices (Dantzig and Wolfe 1960). Every step brackets t: the mixture of vertices reaches the lower bound, duality gives
the upper one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentext.errors import SpecError
from latentext.studies.align.bank import Bank, Floats, power_of_two
from latentext.studies.align.optimisers import scipy_optimize

_TOLERANCE = 1e-6
_ROUNDS = 2000
_LONGEST_WAY = 1e6
"""In standard deviations; no bank goes so far."""


@dataclass(frozen=True, eq=False)
class Reach:
    """How far a bank goes towards target levels.

    Attributes:
        fraction: the largest reachable fraction of the way from the base levels; above 1 there is room to spare,
            infinite when no target lies above its base level.
        levels: the levels at that fraction, at most the target: float64 [values].
    """

    fraction: float
    levels: Floats


def reach(bank: Bank, target: Floats) -> Reach:
    """Find the largest fraction of the way to `target` (float64 [values of the bank]) that some weights reach.

    The fraction is right to 1e-6 and never too high. Pass a pooled bank for the pooled form.

    Raises:
        SpecError: scipy is not installed.

    Example:
        >>> bank = Bank([[[0.0], [1.0]], [[0.0], [2.0]]], names=("sentiment",))
        >>> round(reach(bank, np.array([3.0])).fraction, 6)  # From 0.75 at most to 1.5.
        0.333333
    """
    base = bank.base_levels
    way = target - base
    if not (way > 0).any():
        return Reach(np.inf, target)
    scale = np.where(bank.spreads > 0, bank.spreads, 1.0)
    steps = way / scale
    # The programme's solver takes no numbers beyond its own bounds; a way cut short has the same direction.
    shorter = np.where(np.abs(steps).max() > _LONGEST_WAY, power_of_two(np.abs(steps).max()), 1.0)
    fraction = _largest_fraction((bank.rewards - base) / scale, steps / shorter) / float(shorter)
    return Reach(fraction, base + min(fraction, 1.0) * way)


def _largest_fraction(rewards: Floats, way: Floats) -> float:
    """The programme in standard units: rewards less their base level, the way from there."""
    flat = rewards.reshape(-1, rewards.shape[2])
    row_starts = np.arange(rewards.shape[0]) * rewards.shape[1]
    prices = np.maximum(way, 0.0)
    prices /= prices @ way
    # The base levels are reachable; without them the first programmes are unbounded when a target lies below its base.
    vertices = [np.zeros(len(way))]
    upper = np.inf
    for _ in range(_ROUNDS):
        answers = (flat @ prices).reshape(rewards.shape[:2]).argmax(axis=1)
        vertex = flat[row_starts + answers].mean(axis=0)
        upper = min(upper, float(prices @ vertex))
        vertices.append(vertex)
        prices, lower = _next_prices(np.array(vertices), way)
        if upper - lower <= _TOLERANCE * max(1.0, upper):
            break
    return lower


def _next_prices(vertices: Floats, way: Floats) -> tuple[Floats, float]:
    """Prices λ ≥ 0 with λ·way = 1 that make the best vertex cheapest, and that cheapest value.

    The value is also the largest fraction that mixtures of these vertices reach (linear programming duality).
    """
    number, values = vertices.shape
    found = scipy_optimize().linprog(
        c=np.append(np.zeros(values), 1.0),
        A_ub=np.column_stack([vertices, -np.ones(number)]),
        b_ub=np.zeros(number),
        A_eq=np.append(way, 0.0)[None, :],
        b_eq=[1.0],
        bounds=[(0.0, None)] * values + [(None, None)],
        method="highs",
    )
    if found.status != 0:
        raise SpecError(f"the feasibility programme failed: {found.message}", remedy="check the target levels")
    return np.asarray(found.x[:values]), float(found.x[values])
