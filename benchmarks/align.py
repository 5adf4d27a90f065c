"""Value-aligned sampling: how long a new λ and a new palette take on a bank of the size people use.

    python benchmarks/align.py

One run measures this package and, interleaved with it, the plain way of doing the same: a loop over prompts for the
weights and the bootstrap, and the feasibility programme written out with one unknown a sample. Both ways must agree
before a ratio is printed. Rewards are synthetic: 2,312 prompts × 32 samples × 6 correlated values, half of whose
variance lies between prompts.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import linprog, minimize

from latentext.align import Bank, Target, describe_solution, diagnose, hold_out, reach, solve, sweep, target_levels

VALUES = ("humor", "helpful", "harmless", "diversity", "coherence", "perplexity")
REPLICATES = 1000
NEW_LAMBDA_LIMIT, PALETTE_LIMIT = 1.0, 10.0  # Seconds.


def synthetic_bank(prompts: int, samples: int, seed: int = 0) -> Bank:
    """Correlated normal rewards around prompt means."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.cholesky(0.7 * np.eye(len(VALUES)) + 0.3)
    between = rng.normal(size=(prompts, 1, len(VALUES)))
    return Bank(between + rng.normal(size=(prompts, samples, len(VALUES))) @ mixing.T, VALUES)


def plain_new_lambda(bank: Bank, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels and their bootstrap errors, prompt by prompt and replicate by replicate."""
    by_prompt = []
    for rewards in bank.rewards:
        scores = rewards @ lam
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        by_prompt.append(weights @ rewards)
    table = np.array(by_prompt)
    rng = np.random.default_rng(0)
    replicates = [table[rng.integers(0, len(table), len(table))].mean(axis=0) for _ in range(REPLICATES)]
    return table.mean(axis=0), np.std(replicates, axis=0, ddof=1)


def plain_reach(bank: Bank, target: np.ndarray) -> float:
    """The feasibility programme with one unknown a sample, by HiGHS."""
    prompts, samples, values = bank.rewards.shape
    number, way = prompts * samples, target - bank.base_levels
    simplex = scipy.sparse.hstack(
        [scipy.sparse.kron(scipy.sparse.eye(prompts), np.ones((1, samples))), scipy.sparse.csc_matrix((prompts, 1))]
    )
    levels = np.column_stack([-bank.rewards.reshape(number, values).T / prompts, way])
    found = linprog(
        np.append(np.zeros(number), -1.0),
        A_ub=levels,
        b_ub=-bank.base_levels,
        A_eq=simplex.tocsc(),
        b_eq=np.ones(prompts),
        method="highs",
    )
    return -float(found.fun)


def plain_solve(bank: Bank, target: np.ndarray) -> np.ndarray:
    """The same dual with numerical gradients over a loop of prompts, as one would first write it."""

    def negative_dual(lam: np.ndarray) -> float:
        total = 0.0
        for rewards in bank.rewards:
            scores = rewards @ lam
            largest = scores.max()
            total += largest + np.log(np.exp(scores - largest).mean())
        return total / bank.prompts - float(lam @ target)

    bounds = [(0.0, None)] * len(target)
    return np.asarray(minimize(negative_dual, np.zeros(len(target)), method="L-BFGS-B", bounds=bounds).x)


def interleaved(ways: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each way, taken in turns so that a busy machine slows all alike, and the last results."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            results[name] = way()
            seconds[name].append(time.perf_counter() - begin)
    return seconds, results


def show(title: str, seconds: dict[str, list[float]], limit: float) -> None:
    """Median and range of each way, the ratio to this package, and whether the limit holds."""
    print(f"\n{title}")
    ours = statistics.median(seconds["latentext"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"  {name:<34}{median:8.3f} s  ({min(values):.3f} to {max(values):.3f}){median / ours:9.1f} x")
    print(f"  limit {limit:g} s: {'met' if ours < limit else 'MISSED'}")


def measure_new_lambda(bank: Bank, rounds: int) -> None:
    lam = np.full(len(VALUES), 0.3)
    seconds, results = interleaved(
        {
            "latentext": lambda: diagnose(bank, lam, replicates=REPLICATES),
            "a loop over prompts": lambda: plain_new_lambda(bank, lam),
        },
        rounds,
    )
    plain_levels, plain_errors = results["a loop over prompts"]
    np.testing.assert_allclose(results["latentext"].levels, plain_levels, rtol=1e-10)
    np.testing.assert_allclose(results["latentext"].level_errors, plain_errors, rtol=0.15)
    show(f"a new λ with all diagnostics ({REPLICATES} bootstrap replicates)", seconds, NEW_LAMBDA_LIMIT)


def measure_palette(bank: Bank, rounds: int) -> None:
    targets = dict.fromkeys(VALUES, Target("deviations", 0.3))
    levels = target_levels(bank, targets)
    seconds, results = interleaved(
        {
            "latentext": lambda: solve(bank, targets),
            "written out": lambda: (plain_reach(bank, levels), plain_solve(bank, levels)),
        },
        rounds,
    )
    fraction, lam = results["written out"]
    np.testing.assert_allclose(results["latentext"].fraction, fraction, rtol=1e-5)
    np.testing.assert_allclose(results["latentext"].lam, lam, atol=5e-3)
    show("λ for a palette of six values (feasibility and dual)", seconds, PALETTE_LIMIT)
    print(
        "\n".join(f"  {line}" for line in describe_solution(results["latentext"], hold_out(bank, results["latentext"])))
    )


def measure_hard_palette(bank: Bank) -> None:
    """The edge of what is reachable, where programme and dual need the most steps."""
    targets = dict.fromkeys(VALUES, Target("deviations", 0.3))
    way = target_levels(bank, targets) - bank.base_levels
    edge = bank.base_levels + 0.97 * reach(bank, bank.base_levels + way).fraction * way
    hardest = {name: Target("level", float(level)) for name, level in zip(VALUES, edge, strict=True)}
    begin = time.perf_counter()
    found = solve(bank, hardest)
    print(
        f"\nthe same at 97 % of what is reachable: {time.perf_counter() - begin:.3f} s, λ up to {found.lam.max():.2f}"
    )
    begin = time.perf_counter()
    points = sweep(bank, VALUES[:2])
    print(f"a frontier of {len(points)} points: {time.perf_counter() - begin:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2312)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bank = synthetic_bank(options.prompts, options.samples)
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(f"bank of {bank.prompts} prompts x {bank.samples} samples x {len(bank.names)} rewards")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    diagnose(bank, np.full(len(VALUES), 0.3))
    solve(bank, dict.fromkeys(VALUES, Target("deviations", 0.3)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"peak memory of both above the bank: {grown / 1024:.0f} MiB (the bank: {bank.rewards.nbytes / 2**20:.0f} MiB)"
    )
    measure_new_lambda(bank, options.rounds)
    measure_palette(bank, options.rounds)
    measure_hard_palette(bank)


if __name__ == "__main__":
    main()
