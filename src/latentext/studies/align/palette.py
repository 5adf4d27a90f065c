r"""λ for target levels: the smallest tilt of a bank under which every value is at least at its target.

Among all weights that reach levels c, those closest to the base model have the form exp(λ·r), and their λ maximises
the concave dual

    D(λ) = λ·c - mean_x log mean_j exp(λ·r_xj)    over λ ≥ 0.

Its gradient is c minus the realised levels; λ_k is exactly 0 where a target is met anyway. The normalisation is per
prompt, as resampling does it. The pooled form, one softmax over all prompts, is the same dual on the pooled bank; its
λ is for comparison with published numbers and misses targets when used per prompt (docs/align.md says which way).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from latentext.errors import LatentextError, SpecError
from latentext.studies.align.bank import Bank, Floats
from latentext.studies.align.optimisers import scipy_optimize
from latentext.studies.align.reachability import Reach, reach
from latentext.studies.align.targets import Target, target_levels
from latentext.studies.align.weights import log_normalise, log_sum_exp, scores

_TOLERANCE = 1e-6  # Largest miss of a target, in standard deviations of the reward.
_LONGEST = 1e4  # No λ is longer than this, in standard deviations: beyond it the weights have long been best-of-N.


@dataclass(frozen=True, eq=False)
class Solution:
    """A λ and how it was found. Arrays are float64 [values], in the order of `names`.

    Attributes:
        names: the values that have a target.
        lam: λ ≥ 0, with exact zeros.
        target: the levels asked for.
        base_levels: the levels without any tilt.
        levels: the levels realised on this bank under `lam`.
        divergence: mean over prompts of the weights' divergence from uniform, in nats: the primal objective.
        duality_gap: primal minus dual objective, λ·(levels - target): zero at the solution.
        fraction: how much of the way to the target would be reachable at most (see `reachability`).
        samples: samples a prompt; λ holds for banks of this size, as N samples estimate the tilt with a bias of
            order 1/N.
        pooled: whether one normalisation ran over all prompts.
    """

    names: tuple[str, ...]
    lam: Floats
    target: Floats
    base_levels: Floats
    levels: Floats
    divergence: float
    duality_gap: float
    fraction: float
    samples: int
    pooled: bool = False

    def lambda_for(self, bank: Bank) -> Floats:
        """λ for all values of a bank, 0 for those without a target: float64 [values of the bank]."""
        full = np.zeros(len(bank.names))
        full[[bank.index_of(name) for name in self.names]] = self.lam
        return full


def solve(bank: Bank, targets: Mapping[str, Target], *, pooled: bool = False) -> Solution:
    """Find λ ≥ 0 for target levels.

    Values of the bank without a target get no λ; what happens to them shows in `diagnosis.diagnose`.

    Raises:
        SpecError: an unknown value, targets that no weights reach (with the largest fraction of the way that is), one
            sample a prompt, or scipy not installed.

    Example:
        >>> from latentext.studies.align.targets import parse_targets
        >>> a = np.random.default_rng(1).normal(size=(400, 1))
        >>> bank = Bank((a + np.random.default_rng(2).normal(size=(400, 32)))[:, :, None], names=("humor",))
        >>> found = solve(bank, parse_targets("humor=+0.5"))
        >>> (found.levels - found.base_levels).round(6).tolist(), found.lam.round(1).tolist()
        ([0.5], [0.5])
    """
    return solve_levels(bank.select(list(targets)), target_levels(bank, targets), pooled=pooled)


def solve_levels(bank: Bank, target: Floats, *, pooled: bool = False) -> Solution:
    """As `solve`, with the level of every value of the bank given: float64 [values]."""
    if not np.isfinite(target).all():
        raise SpecError(f"a target is not finite: {target.tolist()}", remedy="give a level for every value")
    if bank.samples == 1 and not pooled:
        raise SpecError("one sample a prompt leaves λ nothing to choose from", remedy="add samples to the bank")
    rows = bank.pooled() if pooled else bank
    found = reach(rows, target)
    if found.fraction < 1.0:
        raise _out_of_reach(rows, target, found)
    with np.errstate(over="ignore"):
        lam, levels, divergence = _maximise_dual(rows, target)
    if not np.isfinite(lam).all():
        raise SpecError("these rewards differ by so little that λ overflows", remedy="multiply them by a constant")
    return Solution(
        names=bank.names,
        lam=lam,
        target=target,
        base_levels=bank.base_levels,
        levels=levels,
        divergence=divergence,
        duality_gap=float(lam @ (levels - target)),
        fraction=found.fraction,
        samples=bank.samples,
        pooled=pooled,
    )


def _maximise_dual(bank: Bank, target: Floats) -> tuple[Floats, Floats, float]:
    """λ, the levels and the divergence under it; works in standard deviations: one step size fits all values."""
    base, scale = bank.base_levels, np.where(bank.spreads > 0, bank.spreads, 1.0)
    standard = bank.standardised()
    goal = (target - base) / scale

    def negative_dual(lam: Floats) -> tuple[float, Floats]:
        value, levels = _log_mean_exp_and_levels(standard, lam)
        return value - float(lam @ goal), levels - goal

    found = scipy_optimize().minimize(
        negative_dual,
        x0=np.zeros(len(goal)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, _LONGEST)] * len(goal),
        options={"maxiter": 1000, "maxfun": 5000, "ftol": 0.0, "gtol": _TOLERANCE / 100, "maxcor": 20},
    )
    lam = np.asarray(found.x)
    value, levels = _log_mean_exp_and_levels(standard, lam)
    miss = np.where(lam > 0, np.abs(levels - goal), np.maximum(goal - levels, 0.0)).max()
    if miss > _TOLERANCE:
        raise LatentextError(
            f"no λ found: a level stays {miss:.1e} standard deviations off its target",
            remedy="the target is at the very edge of what the bank can reach; ask for a little less",
        )
    return lam / scale, base + scale * levels, float(lam @ levels) - value


def _log_mean_exp_and_levels(bank: Bank, lam: Floats) -> tuple[float, Floats]:
    """mean_x log mean_j exp(λ·r_xj), and its gradient: the levels under λ."""
    tilted = scores(bank, lam)
    weights = np.exp(log_normalise(tilted))
    levels: Floats = np.matmul(weights[:, None, :], bank.rewards)[:, 0, :].mean(axis=0)
    # `scores` leaves out λ·r of the first sample; the value needs it back.
    constant = float(lam @ bank.rewards[0, 0])
    value = float(log_sum_exp(tilted).mean()) - float(np.log(bank.samples)) + constant
    return value, levels


def _out_of_reach(bank: Bank, target: Floats, found: Reach) -> SpecError:
    still = [
        name for name, same in zip(bank.names, (np.ptp(bank.rewards, axis=1) == 0).all(axis=0), strict=True) if same
    ]
    if still and bank.samples > 1:
        return SpecError(
            f"all samples of each prompt have equal rewards {', '.join(still)}: no λ moves them",
            remedy="leave these targets out; if the texts are equal too, the bank was sampled at temperature 0",
        )
    nearest, asked = _listed(bank, found.levels), _listed(bank, target)
    return SpecError(
        f"no weights over {bank.samples} samples reach {asked}: at most {found.fraction:.1%} of the way from the base",
        remedy=f"ask for less than {nearest}, or add samples",
    )


def _listed(bank: Bank, levels: Floats) -> str:
    named = zip(bank.names, levels, strict=True)
    return ", ".join(f"{name} {level:.3f}" if abs(level) < 1e6 else f"{name} {level:g}" for name, level in named)
