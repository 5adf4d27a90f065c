"""Levels with their errors against published values, and the warnings that a weak bank earns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentext.studies.align import Bank, describe, diagnose, tilt

Simulate = Callable[..., Bank]


# Source: wang8740/MAP, opt1.3b on the hh-rlhf harmless prompts; λ and levels as recorded with the materials.
@pytest.mark.parametrize(
    ("lam", "levels", "effective_sample_size"),
    [
        ((0, 0, 0, 0, 0, 0), (2.070, -1.471, 0.245, 0.876, 0.434, -3.337), 2312.0),
        ((2.533, 0.233, 0.278, 0.020, 0.046, 0.051), (2.460, -1.471, 0.353, 0.883, 0.449, -3.290), 1750.0),
        ((6.297, 0.834, 0.929, 0.013, 0.026, 0.032), (2.492, -1.277, 0.674, 0.887, 0.466, -3.244), 828.4),
    ],
)
def test_published_levels_come_out_to_three_decimals(
    published: Bank, lam: tuple[float, ...], levels: tuple[float, ...], effective_sample_size: float
) -> None:
    found = diagnose(published, lam, pooled=True)
    assert found.levels.round(3).tolist() == list(levels)
    assert round(found.effective_sample_size, 1) == effective_sample_size


def test_levels_are_means_over_prompts_of_weighted_rewards(simulate: Simulate) -> None:
    bank = simulate(50, 8, seed=0, names=("a", "b"))
    lam = np.array([0.7, -0.3])
    weights = tilt(bank, lam).weights
    by_hand = [np.mean([weights[x] @ bank.rewards[x, :, k] for x in range(50)]) for k in range(2)]
    found = diagnose(bank, lam)
    np.testing.assert_allclose(found.levels, by_hand, rtol=1e-12)
    np.testing.assert_allclose(found.shifts, np.array(by_hand) - bank.base_levels, rtol=1e-12)


def test_bootstrap_errors_agree_with_the_error_of_a_mean_over_prompts(simulate: Simulate) -> None:
    bank = simulate(400, 16, seed=1)
    found = diagnose(bank, 0.8, replicates=4000)
    by_prompt = (tilt(bank, 0.8).weights * bank.rewards[:, :, 0]).sum(axis=1)
    shift_by_prompt = by_prompt - bank.rewards[:, :, 0].mean(axis=1)
    assert found.level_errors[0] == pytest.approx(by_prompt.std(ddof=1) / 20, rel=0.05)
    assert found.shift_errors[0] == pytest.approx(shift_by_prompt.std(ddof=1) / 20, rel=0.05)


def test_pooled_errors_agree_with_the_linearised_error_of_a_ratio(published: Bank) -> None:
    found = diagnose(published, (2.533, 0, 0, 0, 0, 0), pooled=True, replicates=4000)
    weights, rewards = tilt(published, (2.533, 0, 0, 0, 0, 0), pooled=True).weights[:, 0], published.rewards[:, 0, :]
    linearised = np.sqrt(((weights[:, None] * (rewards - found.levels)) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.level_errors, linearised, rtol=0.06)


def test_errors_do_not_depend_on_how_many_replicates_fit_into_memory(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = simulate(40, 8, seed=2)
    at_once = diagnose(bank, 0.5, replicates=100)
    monkeypatch.setattr("latentext.studies.align.diagnosis._COUNTS_AT_ONCE", 40 * 7)
    in_pieces = diagnose(bank, 0.5, replicates=100)
    np.testing.assert_allclose(in_pieces.level_errors, at_once.level_errors, rtol=1e-12)


def test_one_prompt_has_no_error() -> None:
    found = diagnose(Bank(np.arange(8.0).reshape(1, 8, 1), ("a",)), 0.1)
    assert np.isnan(found.level_errors).all()


def test_lambda_zero_realises_the_base_levels_without_a_warning(simulate: Simulate) -> None:
    bank = simulate(30, 8, seed=3, names=("a", "b"))
    found = diagnose(bank, [0.0, 0.0])
    np.testing.assert_allclose(found.levels, found.base_levels, atol=1e-12)
    assert found.effective_sample_size == pytest.approx(8.0)
    assert (found.divergence, found.warnings) == (pytest.approx(0.0, abs=1e-12), ())


def test_the_smallest_bank_earns_no_warning_at_lambda_zero(simulate: Simulate) -> None:
    assert diagnose(simulate(30, 2, seed=3), 0.0).warnings == ()


def test_a_lambda_under_which_one_sample_takes_all_is_said(simulate: Simulate) -> None:
    warnings = diagnose(simulate(30, 8, seed=3), 1e4).warnings
    assert warnings == ("λ is so large that one sample takes all in all: this is best-of-8, not a distribution",)


def test_too_few_samples_for_a_lambda_are_said_with_the_limit_of_the_divergence(simulate: Simulate) -> None:
    found = diagnose(simulate(200, 8, seed=3), 1.5)
    assert found.share_few > 0.1
    assert len(found.warnings) == 1
    assert "8 samples a prompt are too few for this λ" in found.warnings[0]
    assert "KL cannot exceed log N = 2.08" in found.warnings[0]


def test_a_reward_without_differences_is_said_only_when_it_has_a_lambda() -> None:
    rewards = np.random.default_rng(0).normal(size=(10, 8, 2))
    rewards[:, :, 1] = np.arange(10.0)[:, None]
    bank = Bank(rewards, ("humor", "flat"))
    assert diagnose(bank, [0.1, 0.0]).warnings == ()
    assert diagnose(bank, [0.1, 1.0]).warnings == (
        "flat is the same for all samples of every prompt: its λ does nothing",
    )


def test_the_description_has_a_line_a_value_and_the_effective_size(simulate: Simulate) -> None:
    lines = describe(diagnose(simulate(30, 8, seed=3, names=("a", "long-name")), [0.0, 0.5]))
    assert [line.split()[0] for line in lines[:3]] == ["value", "a", "long-name"]
    assert lines[3].startswith("effective sample size ")
    assert "-0.000" not in "".join(describe(diagnose(simulate(31, 9, seed=4), 0.0)))
