"""λ for target levels: published and simulated golden numbers, optimality, and what cannot be reached."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import brentq

from latentext.errors import SpecError
from latentext.studies.align import (
    Bank,
    describe_solution,
    diagnose,
    hold_out,
    parse_targets,
    solve,
    solve_levels,
    tilt,
)

Simulate = Callable[..., Bank]


# Source: wang8740/MAP, palette and λ* as recorded with the materials.
def test_the_published_pooled_lambda_comes_out_to_three_decimals_with_exact_zeros(published: Bank) -> None:
    found = solve_levels(published, np.array([2.460, -1.471, 0.354, 0.876, 0.434, -3.337]), pooled=True)
    assert found.lam.round(3).tolist() == [2.543, 0.240, 0.284, 0.0, 0.0, 0.0]
    assert found.lam[3:].tolist() == [0.0, 0.0, 0.0]
    assert abs(found.duality_gap) < 1e-6


# Source: the simulation recorded with the materials: half of the variance lies between prompts.
def test_pooled_and_conditional_lambda_of_the_recorded_simulation() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(0, 1, 2000)
    one_sample = Bank((a + rng.normal(0, 1, 2000))[:, None, None], ("r",))
    pooled = solve_levels(one_sample, np.array([1.0]), pooled=True)
    assert round(float(pooled.lam[0]), 4) == 0.5065
    bank = Bank((a[:, None] + rng.normal(0, 1, (2000, 32)))[:, :, None], ("r",))
    assert round(float(diagnose(bank, pooled.lam).levels[0]), 3) == 0.464
    assert round(float(solve_levels(bank, np.array([1.0])).lam[0]), 3) == 1.115


def test_one_value_agrees_with_root_finding(simulate: Simulate) -> None:
    bank = simulate(50, 16, seed=3)
    target = float(bank.base_levels[0]) + 0.8
    root = brentq(lambda lam: float(diagnose(bank, lam, replicates=2).levels[0]) - target, 0, 10, xtol=1e-10)
    assert solve(bank, parse_targets("humor=+0.8")).lam[0] == pytest.approx(root, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_levels_are_met_and_the_tilt_is_the_smallest_that_meets_them(simulate: Simulate, seed: int) -> None:
    bank = simulate(40, 12, seed=seed, names=("a", "b", "c"))
    target = bank.base_levels + np.array([0.4, 0.0, -0.1])
    found = solve_levels(bank, target)
    assert (found.levels >= target - 1e-6).all()
    assert (found.lam >= 0).all()
    # Complementary slackness: a value above its target has no λ at all.
    assert all(
        lam == 0.0 for lam, level, goal in zip(found.lam, found.levels, target, strict=True) if level > goal + 1e-5
    )
    # Any other λ ≥ 0 that meets the targets is further from the base model.
    for other in np.random.default_rng(seed).uniform(0, 1.5, size=(50, 3)):
        reached = diagnose(bank, other, replicates=2)
        if (reached.levels >= target).all():
            assert reached.divergence >= found.divergence - 1e-9


def test_the_reported_divergence_is_that_of_the_weights(simulate: Simulate) -> None:
    bank = simulate(40, 12, seed=1, names=("a", "b"))
    found = solve(bank, parse_targets("a=+0.5sd,b=+0.2sd"))
    assert found.divergence == pytest.approx(tilt(bank, found.lam).divergence.mean(), abs=1e-9)


def test_values_without_a_target_get_no_lambda(simulate: Simulate) -> None:
    bank = simulate(40, 12, seed=1, names=("a", "b", "c"))
    found = solve(bank, parse_targets("c=+0.5sd,a=+0.2sd"))
    full = found.lambda_for(bank)
    assert full[1] == 0.0
    np.testing.assert_allclose(diagnose(bank, full).levels[[2, 0]], found.target, atol=1e-5)


def test_targets_that_are_met_anyway_need_no_tilt(simulate: Simulate) -> None:
    found = solve(simulate(40, 12, seed=1), parse_targets("humor=-0.2sd"))
    assert (found.lam.tolist(), found.divergence, found.duality_gap) == ([0.0], pytest.approx(0.0), 0.0)


def test_rewards_on_very_different_scales_are_solved_alike(simulate: Simulate) -> None:
    bank = simulate(60, 16, seed=2, names=("a", "b"))
    scaled = Bank(bank.rewards * [1e-4, 1e4] + [1e3, -1e6], bank.names)
    targets = parse_targets("a=+0.4sd,b=+0.2sd")
    np.testing.assert_allclose(solve(scaled, targets).lam * [1e-4, 1e4], solve(bank, targets).lam, rtol=1e-5, atol=1e-7)


def test_a_target_out_of_reach_is_refused_with_how_far_it_goes(simulate: Simulate) -> None:
    bank = simulate(40, 8, seed=1)
    highest = float(bank.rewards.max(axis=1).mean())
    with pytest.raises(SpecError) as caught:
        solve_levels(bank, bank.base_levels + 2 * (highest - bank.base_levels))
    assert "at most 50.0% of the way" in str(caught.value)
    assert f"ask for less than humor {highest:.3f}" in str(caught.value)


def test_rewards_equal_within_every_prompt_are_named(simulate: Simulate) -> None:
    rewards = simulate(10, 4, seed=0, names=("humor", "flat")).rewards.copy()
    rewards[:, :, 1] = np.arange(10.0)[:, None]
    with pytest.raises(SpecError, match="all samples of each prompt have equal rewards flat: no λ moves them"):
        solve(Bank(rewards, ("humor", "flat")), parse_targets("humor=+0.1sd,flat=+0.1sd"))


def test_one_sample_a_prompt_is_refused_unless_pooled(published: Bank) -> None:
    with pytest.raises(SpecError, match="one sample a prompt"):
        solve(published, parse_targets("humor=+0.1sd"))
    assert solve(published, parse_targets("humor=+0.1sd"), pooled=True).lam[0] > 0


def test_a_solution_is_described_with_its_gap_and_held_out_shifts(simulate: Simulate) -> None:
    bank = simulate(80, 16, seed=1, names=("a", "b"))
    solution = solve(bank, parse_targets("a=+0.3,b=-0.1"))
    lines = describe_solution(solution, hold_out(bank, solution))
    assert lines[0].split() == ["value", "λ", "base", "target", "level", "shift", "asked", "held", "out", "±", "se"]
    assert [line.split()[0] for line in lines[1:3]] == ["a", "b"]
    assert lines[2].split()[1] == "0.000"
    assert lines[3].startswith("duality gap ")
    assert "for 16 samples a prompt" in lines[3]
    assert not any("-0.000" in line for line in lines)
    pooled = describe_solution(solve(bank, parse_targets("a=+0.3"), pooled=True))
    assert pooled[-1].startswith("warning: the pooled form misses its targets")


def test_without_scipy_only_the_search_for_lambda_is_refused(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    bank = simulate(10, 4, seed=0)
    assert diagnose(bank, 0.5).levels[0] > bank.base_levels[0]
    with pytest.raises(SpecError, match=r"looking for λ needs scipy; pip install 'latentext\[align\]'"):
        solve(bank, parse_targets("humor=+0.1"))
