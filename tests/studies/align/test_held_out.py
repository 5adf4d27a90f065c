"""A λ must work where it was not solved: on held-out prompts, and on a bank made from other prompts and draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentext.errors import SpecError
from latentext.studies.align import Bank, diagnose, hold_out, parse_targets, solve

Simulate = Callable[..., Bank]


def test_held_out_shifts_meet_their_targets_within_two_errors(simulate: Simulate) -> None:
    bank = simulate(600, 32, seed=1, names=("a", "b"))
    found = hold_out(bank, solve(bank, parse_targets("a=+0.3sd,b=+0.1")))
    np.testing.assert_allclose(found.target_shifts, [0.3 * bank.spreads[0], 0.1])
    assert (np.abs(found.diagnosis.shifts - found.target_shifts) < 2 * found.diagnosis.shift_errors).all()
    assert (np.abs(found.diagnosis.shifts - found.target_shifts) > 1e-4).all()  # Not the fit itself.


def test_held_out_prompts_have_no_part_in_lambda(simulate: Simulate) -> None:
    bank = simulate(20, 8, seed=4)
    found = hold_out(bank, solve(bank, parse_targets("humor=+0.3")), share=0.25, seed=7)
    order = np.random.default_rng(7).permutation(20)
    lam = solve(bank.take(order[5:]), parse_targets("humor=+0.3")).lam
    assert found.lam == pytest.approx(lam, rel=1e-6)
    assert found.diagnosis.levels == pytest.approx(diagnose(bank.take(order[:5]), lam).levels, rel=1e-6)


def test_lambda_carries_over_to_another_bank_and_the_pooled_one_falls_short(simulate: Simulate) -> None:
    bank, other = simulate(300, 32, seed=10), simulate(300, 32, seed=11)
    met = 0
    for shift in (0.1, 0.2, 0.4, 0.6, 0.8):
        realised = diagnose(other, solve(bank, parse_targets({"humor": f"+{shift}"})).lam)
        met += abs(realised.shifts[0] - shift) <= 2 * realised.shift_errors[0]
        pooled = diagnose(other, solve(bank, parse_targets({"humor": f"+{shift}"}), pooled=True).lam)
        assert pooled.shifts[0] < shift - 2 * pooled.shift_errors[0]
    assert met >= 4


def test_a_pooled_solution_is_judged_as_sampling_would_use_it(simulate: Simulate) -> None:
    bank = simulate(600, 32, seed=10)
    found = hold_out(bank, solve(bank, parse_targets("humor=+0.5"), pooled=True))
    # Half of the pooled variance lies between prompts, where per-prompt weights cannot move it.
    assert found.diagnosis.shifts[0] == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.95])
def test_too_few_prompts_on_either_side_are_refused(simulate: Simulate, share: float) -> None:
    bank = simulate(9, 8, seed=1)
    with pytest.raises(SpecError, match="of 9 prompts cannot be held out"):
        hold_out(bank, solve(bank, parse_targets("humor=+0.1")), share=share)


def test_training_prompts_that_cannot_reach_the_target_are_said() -> None:
    rewards = np.zeros((10, 2, 1))
    held_out = np.random.default_rng(0).permutation(10)[0]
    rewards[held_out, 1] = 10.0  # Only a held-out prompt can move.
    bank = Bank(rewards, ("a",))
    with pytest.raises(SpecError, match="on a part of the prompts: all samples of each prompt have equal rewards a"):
        hold_out(bank, solve(bank, parse_targets("a=+0.1")))
