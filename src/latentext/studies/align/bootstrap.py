"""Standard errors of levels: prompts are drawn anew, with all their samples.

The samples of a prompt share its difficulty and its weights, so they are no independent witnesses of a mean over
prompts; prompts are. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", on clustered data.
"""

from __future__ import annotations

import numpy as np

from latentext.studies.align.bank import Floats

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
