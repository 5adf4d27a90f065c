"""Value-aligned sampling: how long a bank, a new λ and a new palette take at the sizes people use.

    python benchmarks/align.py             a new λ and a palette, in seconds
    python benchmarks/align.py --bank      making a bank of 64 prompts x 32 samples, beside one prompt at a time
    python benchmarks/align.py --memory    peak memory of drawing from banks of 64 and of 640 prompts

One run measures this package and, interleaved with it, the plain way of doing the same. For a bank that is MAP's way,
one prompt at a time through `generate(num_return_sequences=32)` and rewards text by text; for a λ a loop over prompts
for the weights and the bootstrap, and the feasibility programme written out with one unknown a sample. Both ways must
agree before a ratio is printed. Synthetic rewards are 2,312 prompts × 32 samples × 6 correlated values, half of whose
variance lies between prompts.
"""

from __future__ import annotations

import argparse
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.optimize import linprog, minimize

from latentext.engines.opening import open_engine
from latentext.run.runner import make_dataset
from latentext.spec import Spec
from latentext.spec.files import load_spec
from latentext.studies.align import (
    Bank,
    Target,
    describe_solution,
    diagnose,
    hold_out,
    reach,
    solve,
    sweep,
    target_levels,
)
from latentext.studies.align.generation import TextGeneration
from latentext.studies.catalogue import recipe_path

VALUES = ("humor", "helpful", "harmless", "diversity", "coherence", "perplexity")
REPLICATES = 1000
NEW_LAMBDA_LIMIT, PALETTE_LIMIT = 1.0, 10.0  # Seconds.
BANK_LIMIT = 6.0  # Times as fast as one prompt at a time.
MIN_NEW, MAX_NEW = 8, 50


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
    """Seconds of the processor of each way, and the last results; ways take turns, so a busy machine slows all alike.

    Processor time, of all threads together: other programs on the cores do not count, and threads save none of it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            results[name] = way()
            seconds[name].append(time.process_time() - begin)
    return seconds, results


def show(title: str, seconds: dict[str, list[float]], ours_again: Callable[[], Any], limit: float) -> None:
    """Median and range of each way, the ratio to this package, and whether the limit holds, by the clock too."""
    print(f"\n{title}")
    ours = statistics.median(seconds["latentext"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"  {name:<34}{median:8.3f} s  ({min(values):.3f} to {max(values):.3f}){median / ours:9.1f} x")
    begin = time.perf_counter()
    ours_again()
    clock = time.perf_counter() - begin
    print(f"  latentext by the clock, once:     {clock:9.3f} s")
    print(f"  limit {limit:g} s: {'met' if max(ours, clock) < limit else 'MISSED'}")


def measure_new_lambda(bank: Bank, rounds: int) -> None:
    lam = np.full(len(VALUES), 0.3)
    ours = partial(diagnose, bank, lam, replicates=REPLICATES)
    seconds, results = interleaved(
        {
            "latentext": ours,
            "a loop over prompts": lambda: plain_new_lambda(bank, lam),
        },
        rounds,
    )
    plain_levels, plain_errors = results["a loop over prompts"]
    np.testing.assert_allclose(results["latentext"].levels, plain_levels, rtol=1e-10)
    np.testing.assert_allclose(results["latentext"].level_errors, plain_errors, rtol=0.15)
    show(f"a new λ with all diagnostics ({REPLICATES} bootstrap replicates)", seconds, ours, NEW_LAMBDA_LIMIT)


def measure_palette(bank: Bank, rounds: int) -> None:
    targets = dict.fromkeys(VALUES, Target("deviations", 0.3))
    levels = target_levels(bank, targets)
    ours = partial(solve, bank, targets)
    seconds, results = interleaved(
        {
            "latentext": ours,
            "written out": lambda: (plain_reach(bank, levels), plain_solve(bank, levels)),
        },
        rounds,
    )
    fraction, lam = results["written out"]
    np.testing.assert_allclose(results["latentext"].fraction, fraction, rtol=1e-5)
    np.testing.assert_allclose(results["latentext"].lam, lam, atol=5e-3)
    show("λ for a palette of six values (feasibility and dual)", seconds, ours, PALETTE_LIMIT)
    print(
        "\n".join(f"  {line}" for line in describe_solution(results["latentext"], hold_out(bank, results["latentext"])))
    )


def measure_hard_palette(bank: Bank) -> None:
    """The edge of what is reachable, where programme and dual need the most steps."""
    targets = dict.fromkeys(VALUES, Target("deviations", 0.3))
    way = target_levels(bank, targets) - bank.base_levels
    edge = bank.base_levels + 0.97 * reach(bank, bank.base_levels + way).fraction * way
    hardest = {name: Target("level", float(level)) for name, level in zip(VALUES, edge, strict=True)}
    begin = time.process_time()
    found = solve(bank, hardest)
    print(
        f"\nthe same at 97 % of what is reachable: {time.process_time() - begin:.3f} s, λ up to {found.lam.max():.2f}"
    )
    begin = time.process_time()
    points = sweep(bank, VALUES[:2])
    print(f"a frontier of {len(points)} points: {time.process_time() - begin:.3f} s")


def bank_prompts(count: int) -> list[str]:
    """Begun reviews of the recipe, in its order."""
    grid = load_spec(recipe_path("align/reviews")).prompts.grid
    return [f"{opening} {remark}" for opening in grid["opening"] for remark in grid["remark"]][:count]


def one_prompt_at_a_time(model: Any, tokenizer: Any, prompts: list[str], samples: int) -> int:
    """A bank as MAP's package makes it; returns the number of new tokens."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    vader, new_tokens = SentimentIntensityAnalyzer(), 0
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            ids = model.generate(
                **inputs,
                do_sample=True,
                temperature=1.0,
                top_k=50,
                min_new_tokens=MIN_NEW,
                max_new_tokens=MAX_NEW,
                num_return_sequences=samples,
                pad_token_id=pad,
            )
        new = ids[:, inputs["input_ids"].shape[1] :]
        new_tokens += int((new != pad).sum())
        for text in tokenizer.batch_decode(ids, skip_special_tokens=True):
            vader.polarity_scores(text)["compound"]
            encoded = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                float(model(**encoded, labels=encoded["input_ids"]).loss)
    return new_tokens


def whole_run(spec: Spec, folder: Path, engine: Any) -> int:
    """The same bank as a dataset directory, texts and scores committed to the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    return make_dataset(spec, folder, engine=engine).tokens


def measure_bank(model: str, rounds: int, prompts: int, samples: int) -> None:
    """Texts and two rewards: sentiment, and perplexity under the model that wrote them.

    The plain way reads every text once more for its perplexity; a run keeps the log-probabilities as it samples.
    """
    texts = bank_prompts(prompts)
    spec = load_spec(
        {
            "model": model,
            "prompts": {"list": texts, "use_chat_template": False},
            "decoding": {
                "temperature": 1.0, "top_k": 50, "min_new_tokens": MIN_NEW, "max_new_tokens": MAX_NEW, "n": samples,
                "logprobs": True,
            },
            "rewards": ["sentiment", "perplexity"],
        }
    )  # fmt: skip
    engine = open_engine(spec.model)
    loaded = engine.loaded
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "latentext": lambda: whole_run(spec, Path(folder) / "bank", engine),
            "one prompt at a time": lambda: one_prompt_at_a_time(loaded.model, loaded.tokenizer, texts, samples),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            latest, tokens = interleaved(ways, 1)
            for name, values in latest.items():
                seconds[name] += values
            shown = ", ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items())
            print(f"round {number + 1}: {shown}", flush=True)  # A round takes minutes.
    # Both sample from one distribution: their numbers of tokens agree up to chance.
    np.testing.assert_allclose(tokens["latentext"], tokens["one prompt at a time"], rtol=0.1)
    ratios = [plain / ours for ours, plain in zip(seconds["latentext"], seconds["one prompt at a time"], strict=True)]
    print(f"bank of {prompts} prompts x {samples} samples with two rewards, {tokens['latentext']:,} new tokens")
    print("seconds of the processor:")
    for name, values in seconds.items():
        print(f"  {name:<34}{statistics.median(values):8.2f} s  ({min(values):.2f} to {max(values):.2f})")
    print(f"  ratio within a round: {statistics.median(ratios):.1f} x ({min(ratios):.1f} to {max(ratios):.1f})")
    print(f"  limit {BANK_LIMIT:g} x: {'met' if statistics.median(ratios) >= BANK_LIMIT else 'MISSED'}")


def compare_memory(samples: int) -> None:
    """Peak memory of `align sample` over 64 prompts and over ten times as many, each in a process of its own."""
    peaks = []
    for times in (1, 10):
        command = [sys.executable, __file__, "--peak-of", str(times), "--samples", str(samples)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True).stdout))
        print(f"{64 * times} prompts x {samples} samples, shards of 32 prompts: peak memory {peaks[-1] / 1e6:,.0f} MB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def peak_of(times: int, samples: int) -> int:
    """Draw from a bank of the same 64 prompts, so many times over; returns the process's peak memory in bytes.

    Shards repeat, so that a longer run has no longer prompts; equal prompts have draws of their own.
    """
    rows = {"list": [{"prompt": text} for text in bank_prompts(64) * times], "use_chat_template": False}
    with tempfile.TemporaryDirectory() as folder:
        generation = TextGeneration("tiny", "reviews", folder, prompts=rows)
        generation.generate_from_MC_aligned_model(2.0, "sentiment", samples)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", action="store_true", help="measure making a bank instead")
    parser.add_argument("--memory", action="store_true", help="compare peak memories instead")
    parser.add_argument("--peak-of", type=int, metavar="TIMES", help=argparse.SUPPRESS)
    parser.add_argument("--model", default="tiny", help="of the bank: tiny, or a folder such as that of stories260k")
    parser.add_argument("--prompts", type=int, default=None, help="default 2312, or 64 for --bank")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.peak_of:
        print(peak_of(options.peak_of, options.samples))
        return
    if options.memory:
        compare_memory(options.samples)
        return
    if options.bank:
        measure_bank(options.model, options.rounds, options.prompts or 64, options.samples)
        return
    bank = synthetic_bank(options.prompts or 2312, options.samples)
    print(f"{platform.machine()}, seconds of the processor, Python {platform.python_version()}, NumPy {np.__version__}")
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
