"""Pairs: how fast the validator is beside the usual loop and beside bare tokenization, and how fast sets are made.

    python benchmarks/pairs.py [--materials DIR] [--pairs 20000] [--rounds 5]

The usual loop calls a transformers tokenizer once for each text, twice for every text (once to compare lengths, once
to compare ids), for each form and tokenizer. Bare tokenization is `encode_batch` of the same texts and nothing else.
All three ways take turns on one slice of the pairs after another, in one process, so a busy machine hits them alike;
they must agree on the number of valid pairs. No text stands twice, so nothing is gained by encoding equal texts once.
Processor time is printed beside the rates: on a machine that others use, it is the steadier of the two.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from latentext.studies.pairs import PairTask, PairTokenizer, load_bank, load_task, load_tokenizers, validate_pairs
from rounds import measure

Pair = tuple[str, str]
FOLDERS = {"qwen2": "qwen2", "llama3": "llama-3.2-instruct", "mistral": "mistral-v1"}
SEED_LIMIT, RAW_LIMIT, SUBSTITUTE_LIMIT = 5.0, 0.85, 10.0  # Times, share, seconds.


def made_up_pairs(count: int) -> list[Pair]:
    """Distinct pairs, as uneven as proposals are: a frame, any two words of the bank, one in two cut into pieces."""
    candidates, draw = list(load_bank("refusal").candidates()), random.Random(0)
    pairs = []
    for number in range(count):
        frame = draw.choice(candidates).frame + f" and answer the people in room {number}"
        words = draw.choice(candidates).words[0], draw.choice(candidates).words[1] + draw.choice(["", "ish"])
        pairs.append((frame.replace("{}", words[0]), frame.replace("{}", words[1])))
    return pairs


def usual_loop(pairs: Sequence[Pair], task: PairTask, tokenizers: Sequence[PreTrainedTokenizerBase]) -> int:
    """Valid pairs, by one call a text: lengths first, then ids."""
    valid = 0
    for first, second in pairs:
        good = True
        for form in task.forms:
            a, b = form.text(first), form.text(second)
            for tokenizer in tokenizers:
                length_a = len(tokenizer.encode(a, add_special_tokens=False))
                length_b = len(tokenizer.encode(b, add_special_tokens=False))
                ids_a = tokenizer.encode(a, add_special_tokens=False)
                ids_b = tokenizer.encode(b, add_special_tokens=False)
                good &= length_a == length_b and sum(x != y for x, y in zip(ids_a, ids_b, strict=False)) == 1
        valid += good
    return valid


def bare_encoding(pairs: Sequence[Pair], task: PairTask, tokenizers: Sequence[PairTokenizer]) -> None:
    texts = [form.text(side) for pair in pairs for side in pair for form in task.forms]
    for tokenizer in tokenizers:
        tokenizer.backend.encode_batch(texts, add_special_tokens=False)


def substitute_seconds(sources: Sequence[str], task: str) -> tuple[float, float]:
    """Wall and processor time of the whole command for 1,500 scenarios, loading included; all must be valid."""
    options = [part for source in sources for part in ("--tokenizer", source)]
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "pairs.jsonl"))
        command = [sys.executable, "-m", "latentext", "pairs"]
        started, spent = time.perf_counter(), _children_seconds()
        subprocess.run([*command, "substitute", "--task", task, "--output", file, *options], check=True, stdout=DEVNULL)
        seconds = time.perf_counter() - started, _children_seconds() - spent
        subprocess.run([*command, "validate", file, "--same-word", *options], check=True, stdout=DEVNULL)
    return seconds


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@dataclass
class Way:
    """One way of going through the slices, with what it found and the processor time it took."""

    name: str
    work: Callable[[Sequence[Pair]], int | None]
    remaining: Iterator[Sequence[Pair]]
    found: list[int | None] = field(default_factory=list)
    processor_seconds: float = 0.0

    def run(self) -> int:
        """Do the next slice; return the number of pairs."""
        pairs = next(self.remaining)
        before = time.process_time()
        self.found.append(self.work(pairs))
        self.processor_seconds += time.process_time() - before
        return len(pairs)


def compare_ways(folders: dict[str, Path], count: int, rounds: int) -> None:
    """Measure the three ways on all pairs and print rates and ratios."""
    task, tokenizers = load_task("refusal"), load_tokenizers([f"{name}={path}" for name, path in folders.items()])
    usual = [AutoTokenizer.from_pretrained(folder) for folder in folders.values()]
    size = count // rounds
    pairs = made_up_pairs(size * rounds)
    # The round that only warms up gets the first slice, which comes again as the first that counts.
    slices = [pairs[:size], *(pairs[start : start + size] for start in range(0, len(pairs), size))]
    works: dict[str, Callable[[Sequence[Pair]], int | None]] = {
        "bare encode_batch": lambda some: bare_encoding(some, task, tokenizers),
        "usual loop": lambda some: usual_loop(some, task, usual),
        "validator": lambda some: sum(check.valid for check in validate_pairs(some, tokenizers, task.forms)),
    }
    ways = [Way(name, work, iter(slices)) for name, work in works.items()]
    rows = measure({way.name: way.run for way in ways}, rounds)
    _, loop, ours = ways
    assert loop.found == ours.found, "the usual loop and the validator must agree"

    valid = sum(found or 0 for found in ours.found[1:])
    print(f"{len(pairs):,} pairs, {valid:,} valid, in {len(task.forms)} forms under {len(tokenizers)} tokenizers")
    for row, way in zip(rows, ways, strict=True):
        spent = way.processor_seconds / sum(map(len, slices)) * 1000
        print(f"  {row.name:18} {row.median:>8,.0f} pairs/s  {spent:.2f} ms of processor time a pair")
    for row, limit in ((rows[1], SEED_LIMIT), (rows[0], RAW_LIMIT)):
        ratios = [mine / other for mine, other in zip(rows[2].rates, row.rates, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} … {max(ratios):.2f})"
        print(f"  validator / {row.name}: {spread}, target at least {limit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("LATENTEXT_MATERIALS", Path(__file__).resolve().parents[2] / "shared" / "materials")
    parser.add_argument("--materials", type=Path, default=Path(default))
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folders = {name: options.materials / "tokenizers" / folder for name, folder in FOLDERS.items()}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    compare_ways(folders, options.pairs, options.rounds)
    for task in ("refusal", "sentiment"):
        wall, spent = substitute_seconds([f"{name}={path}" for name, path in folders.items()], task)
        times = f"{wall:.1f} s, {spent:.1f} s of processor time"
        print(f"  substitute {task}, 1,500 scenarios, all valid: {times}; target {SUBSTITUTE_LIMIT:.0f} s")


if __name__ == "__main__":
    main()
