"""What a λ does to a bank, and whether the bank carries it: levels with standard errors, and how many samples count.

A tilt always returns numbers; whether they mean anything depends on how many samples a prompt effectively rests on.
So levels never come without their errors (bootstrap over prompts, since samples of one prompt are not independent
witnesses of a mean over prompts) and effective sample sizes, and what is wrong is said in plain lines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from latentext.studies.align.bank import Bank, Floats
from latentext.studies.align.weights import Weights, checked_lambda, tilt

FEW_SAMPLES = 4.0
"""A prompt whose effective sample size is below this rests on too few texts to speak of a distribution."""

_ONE_TAKES_ALL = 0.99
_TOLERATED_SHARE = 0.1  # Of prompts: a few hard ones among thousands are no reason to warn.


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Effect and reliability of one λ on one bank. Arrays are float64 [values], in the order of `names`.

    Attributes:
        names: the bank's values.
        lam: λ.
        base_levels: mean rewards under the base model.
        levels: mean rewards under the weights; `level_errors` their bootstrap standard errors over prompts.
        shifts: levels - base_levels; `shift_errors` their (paired) bootstrap standard errors.
        effective_sample_size: mean over prompts (the one number of the pooled form).
        share_few: share of prompts with an effective sample size under 4.
        divergence: mean over prompts of Σ w log(N w), in nats.
        largest_divergence: log N, which no λ exceeds.
        warnings: plain lines; empty when nothing is wrong.
        pooled: whether the pooled form was used.
    """

    names: tuple[str, ...]
    lam: Floats
    base_levels: Floats
    levels: Floats
    level_errors: Floats
    shifts: Floats
    shift_errors: Floats
    effective_sample_size: float
    share_few: float
    divergence: float
    largest_divergence: float
    warnings: tuple[str, ...]
    pooled: bool = False


def diagnose(bank: Bank, lam: ArrayLike, *, pooled: bool = False, replicates: int = 1000, seed: int = 0) -> Diagnosis:
    """Weigh a bank by λ and say what comes of it.

    Args:
        replicates: bootstrap replicates over prompts.
        seed: seed of the bootstrap.

    Raises:
        SpecError: as `latentext.studies.align.weights.tilt`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> bank = Bank(rng.normal(size=(500, 32, 1)), names=("sentiment",))
        >>> found = diagnose(bank, 0.5)
        >>> f"{found.levels[0]:.2f} ± {found.level_errors[0]:.2f}", found.warnings
        ('0.48 ± 0.01', ())
    """
    weights = tilt(bank, lam, pooled=pooled)
    return diagnose_weights(bank, weights, lam, replicates=replicates, seed=seed)


def diagnose_weights(
    bank: Bank, weights: Weights, lam: ArrayLike, *, replicates: int = 1000, seed: int = 0
) -> Diagnosis:
    """As `diagnose`, for weights made otherwise (smoothed, best-of-n); `lam` is only recorded."""
    linear = weights.weights
    mass, base_sums = linear.sum(axis=1), bank.rewards.mean(axis=1)
    tilted_sums = np.matmul(linear[:, None, :], bank.rewards)[:, 0, :]
    levels = tilted_sums.sum(axis=0) / mass.sum()
    level_errors, shift_errors = bootstrap_errors(tilted_sums, mass, base_sums, replicates, seed)
    sizes, divergence = weights.effective_sample_size, weights.divergence
    return Diagnosis(
        names=bank.names,
        lam=checked_lambda(bank, lam),
        base_levels=bank.base_levels,
        levels=levels,
        level_errors=level_errors,
        shifts=levels - bank.base_levels,
        shift_errors=shift_errors,
        effective_sample_size=float(sizes.mean()),
        share_few=float((sizes < FEW_SAMPLES).mean()),
        divergence=float(divergence.mean()),
        largest_divergence=math.log(linear.size if weights.pooled else bank.samples),
        warnings=tuple(_warnings(bank, weights, checked_lambda(bank, lam))),
        pooled=weights.pooled,
    )


def _warnings(bank: Bank, weights: Weights, lam: Floats) -> list[str]:
    lines = []
    within = np.ptp(bank.rewards, axis=(0, 1) if weights.pooled else 1)
    moves_nothing = within == 0 if weights.pooled else (within == 0).all(axis=0)
    lines += [
        f"{name} is the same for all samples of every prompt: its λ does nothing"
        for name, same, coefficient in zip(bank.names, moves_nothing, lam, strict=True)
        if same and coefficient
    ]
    count, sizes = len(weights.largest), weights.effective_sample_size
    single = int((weights.largest > _ONE_TAKES_ALL).sum())
    few = float((sizes < FEW_SAMPLES).mean())
    samples = weights.log_weights.size if weights.pooled else bank.samples
    if single > _TOLERATED_SHARE * count:
        where = "in all" if single == count else f"in {single} of {count} prompts"
        lines.append(f"λ is so large that one sample takes all {where}: this is best-of-{samples}, not a distribution")
    elif lam.any() and few > _TOLERATED_SHARE:
        lines.append(
            f"{samples} samples a prompt are too few for this λ: {few:.0%} of the prompts rest on fewer than "
            f"{FEW_SAMPLES:.0f} (KL cannot exceed log N = {math.log(samples):.2f}); add samples or weaken λ"
        )
    return lines


# Standard errors of levels: prompts are drawn anew, with all their samples.
#
# The samples of a prompt share its difficulty and its weights, so they are no independent witnesses of a mean over
# prompts; prompts are. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", on clustered data.

_COUNTS_AT_ONCE = 4_000_000  # Bounds memory to some 100 MB, whatever the number of prompts.


def bootstrap_errors(
    tilted_sums: Floats, mass: Floats, base_sums: Floats, replicates: int, seed: int
) -> tuple[Floats, Floats]:
    """Standard errors of the levels Σ_x tilted_sums / Σ_x mass, and of their distance to the mean of base_sums.

    Weights that are normalised within prompts have mass 1 each. In the pooled form a prompt's mass is its share of all
    weight; it varies between replicates, and the error with it.

    Args:
        tilted_sums: Σ_j w_j r_j of each prompt, float64 [prompts, values].
        mass: Σ_j w_j of each prompt, float64 [prompts].
        base_sums: mean_j r_j of each prompt, float64 [prompts, values].
        replicates: how often the prompts are drawn.
        seed: of these draws.

    Returns:
        Two float64 [values]; NaN for a single prompt, which says nothing about others.
    """
    prompts = len(mass)
    if prompts == 1:
        unknown = np.full(tilted_sums.shape[1], np.nan)
        return unknown, unknown
    values = tilted_sums.shape[1]
    table = np.column_stack([tilted_sums, base_sums, mass])
    rng = np.random.default_rng(seed)
    levels, shifts = [], []
    at_once = max(1, _COUNTS_AT_ONCE // prompts)
    for start in range(0, replicates, at_once):
        number = min(at_once, replicates - start)
        chosen = rng.integers(0, prompts, size=(number, prompts)) + prompts * np.arange(number)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=number * prompts).reshape(number, prompts)
        sums = counts.astype(np.float64) @ table
        level = sums[:, :values] / sums[:, -1:]
        levels.append(level)
        shifts.append(level - sums[:, values:-1] / prompts)
    return np.concatenate(levels).std(axis=0, ddof=1), np.concatenate(shifts).std(axis=0, ddof=1)
