"""A λ must work where it was not solved: on held-out prompts, and on a bank made from other prompts and draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentext.align import Bank, cross_validate, diagnose, parse_targets, solve
from latentext.errors import SpecError

Simulate = Callable[..., Bank]


def test_held_out_levels_meet_the_target_within_two_errors(simulate: Simulate) -> None:
    bank = simulate(400, 32, seed=1, names=("a", "b"))
    solution = solve(bank, parse_targets("a=+0.3sd,b=+0.1sd"))
    found = cross_validate(bank, solution)
    asked = solution.target - solution.base_levels
    assert (np.abs(found.shifts - asked) < 2 * found.shift_errors).all()
    assert (np.abs(found.shifts - asked) > 1e-6).all()  # Not the fit itself.


def test_every_prompt_is_weighed_by_a_lambda_that_never_saw_it(simulate: Simulate) -> None:
    bank = simulate(20, 8, seed=4)
    found = cross_validate(bank, solve(bank, parse_targets("humor=+0.3")), folds=2, seed=7)
    halves = np.array_split(np.random.default_rng(7).permutation(20), 2)
    by_hand = []
    for training, test in ((bank.take(halves[1]), bank.take(halves[0])), (bank.take(halves[0]), bank.take(halves[1]))):
        lam = solve(training, parse_targets("humor=+0.3")).lam
        by_hand.append(diagnose(test, lam, replicates=2).levels[0])
    assert found.levels[0] == pytest.approx(np.mean(by_hand), abs=1e-6)


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
    bank = simulate(300, 32, seed=10)
    solution = solve(bank, parse_targets("humor=+0.5"), pooled=True)
    found = cross_validate(bank, solution)
    # Half of the pooled variance lies between prompts, where per-prompt weights cannot move it.
    assert found.shifts[0] == pytest.approx(0.25, abs=0.03)


def test_more_folds_than_prompts_allow_are_refused(simulate: Simulate) -> None:
    bank = simulate(9, 8, seed=1)
    with pytest.raises(SpecError, match="9 prompts cannot be dealt into 5 folds"):
        cross_validate(bank, solve(bank, parse_targets("humor=+0.1")))


def test_a_training_part_that_cannot_reach_the_target_is_said() -> None:
    rewards = np.zeros((10, 2, 1))
    rewards[0, 1] = 10.0  # Only the first prompt can move.
    bank = Bank(rewards, ("a",))
    with pytest.raises(SpecError, match=r"no held-out levels: .* \(on a part of the prompts\)"):
        cross_validate(bank, solve(bank, parse_targets("a=+0.1")))
