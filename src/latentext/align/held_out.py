"""What a solved λ realises on prompts it was not solved on, by cross-validation over prompts.

On its own bank a solved λ meets its target to the last digit, which proves nothing. Here the prompts are dealt into
folds, λ is solved for the same shift on all folds but one and applied to that one, as sampling would apply it: per
prompt. The levels over all prompts, each under a λ that never saw it, stand beside the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentext.align.bank import Bank, Floats
from latentext.align.bootstrap import bootstrap_errors
from latentext.align.palette import Solution, solve_levels
from latentext.align.weights import tilt
from latentext.errors import LatentextError, SpecError


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Levels on held-out prompts. Arrays are float64 [values], in the order of `names`.

    Attributes:
        names: the values that have a target.
        target: the levels asked for.
        levels: realised on held-out prompts; `level_errors` their bootstrap standard errors over prompts.
        shifts: levels less the base levels; `shift_errors` their (paired) standard errors, which tell better whether
            the target shift is met, since the difficulty of the prompts drops out.
    """

    names: tuple[str, ...]
    target: Floats
    levels: Floats
    level_errors: Floats
    shifts: Floats
    shift_errors: Floats


def cross_validate(bank: Bank, solution: Solution, *, folds: int = 5, seed: int = 0, replicates: int = 1000) -> HeldOut:
    """Solve again on each training part and realise on the rest.

    Args:
        bank: the bank of `solution`, at least two samples a prompt.
        folds: parts into which the prompts are dealt at random by `seed`.
        replicates: bootstrap replicates.

    Raises:
        SpecError: fewer prompts than folds, or a training part on which the target is out of reach.
    """
    part = bank.select(solution.names)
    if folds < 2 or part.prompts < 2 * folds:
        raise SpecError(f"{part.prompts} prompts cannot be dealt into {folds} folds of two or more")
    tilted_sums = np.empty((part.prompts, len(part.names)))
    for held_out in np.array_split(np.random.default_rng(seed).permutation(part.prompts), folds):
        training = part.take(np.setdiff1d(np.arange(part.prompts), held_out))
        # The shift is held, not the level: prompts that happen to be easy must not pass for a tilt.
        target = solution.target - solution.base_levels + training.base_levels
        test = part.take(held_out)
        weights = tilt(test, _solve_fold(training, target, solution.pooled)).weights
        tilted_sums[held_out] = np.matmul(weights[:, None, :], test.rewards)[:, 0, :]
    levels = tilted_sums.mean(axis=0)
    base_sums = part.rewards.mean(axis=1)
    level_errors, shift_errors = bootstrap_errors(tilted_sums, np.ones(part.prompts), base_sums, replicates, seed)
    return HeldOut(part.names, solution.target, levels, level_errors, levels - part.base_levels, shift_errors)


def _solve_fold(training: Bank, target: Floats, pooled: bool) -> Floats:
    try:
        return solve_levels(training, target, pooled=pooled).lam
    except LatentextError as error:
        raise SpecError(f"no held-out levels: {error.what} (on a part of the prompts)", remedy=error.remedy) from error
