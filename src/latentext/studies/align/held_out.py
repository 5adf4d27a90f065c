"""What a solved λ realises on prompts it was not solved on.

On its own bank a solved λ meets its target to the last digit, which proves nothing. Here λ is solved on a random part
of the prompts and applied to the rest, as sampling would apply it: per prompt. One split, not cross-validation, since
over all folds the deviations of training and held-out parts cancel, and the average would look better than any λ is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentext.errors import LatentextError, SpecError
from latentext.studies.align.bank import Bank, Floats
from latentext.studies.align.diagnosis import Diagnosis, diagnose
from latentext.studies.align.palette import Solution, solve_levels


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A λ solved on some prompts, judged on others.

    Attributes:
        names: the values that have a target.
        lam: λ from the training prompts: float64 [values].
        target_shifts: the shifts asked for: float64 [values].
        diagnosis: of that λ on the held-out prompts. `diagnosis.shifts` ± `diagnosis.shift_errors` stand against
            `target_shifts`: shifts, since held-out prompts that happen to be easy would pass for a tilt in levels. The
            errors are those of the held-out prompts alone; λ's own error, from the training prompts, comes on top.
    """

    names: tuple[str, ...]
    lam: Floats
    target_shifts: Floats
    diagnosis: Diagnosis


def hold_out(bank: Bank, solution: Solution, *, share: float = 0.25, seed: int = 0) -> HeldOut:
    """Solve again for the same shifts without some prompts, and realise on those.

    Args:
        bank: the bank of `solution`, with at least two samples a prompt.
        share: of the prompts to hold out, drawn at random by `seed`.

    Raises:
        SpecError: fewer than two prompts on either side, or training prompts on which the target is out of reach.
    """
    part = bank.select(solution.names)
    held_out_count = round(share * part.prompts)
    if min(held_out_count, part.prompts - held_out_count) < 2:
        raise SpecError(f"{share:.0%} of {part.prompts} prompts cannot be held out", remedy="make a larger bank")
    order = np.random.default_rng(seed).permutation(part.prompts)
    training, held_out = part.take(order[held_out_count:]), part.take(order[:held_out_count])
    target_shifts = solution.target - solution.base_levels
    try:
        lam = solve_levels(training, training.base_levels + target_shifts, pooled=solution.pooled).lam
    except LatentextError as error:
        raise SpecError(f"on a part of the prompts: {error.what}", remedy=error.remedy) from error
    return HeldOut(part.names, lam, target_shifts, diagnose(held_out, lam))
