"""Pairs: how fast the validator is beside the usual loop and beside bare tokenization, and how fast sets are made.

    python benchmarks/pairs.py [--materials DIR] [--pairs 20000] [--rounds 5]

The usual loop calls a transformers tokenizer once for each text, twice for every text (once to compare lengths, once
to compare ids), for each form and tokenizer. Bare tokenization is `encode_batch` of the same texts and nothing else.
All three ways take turns on one slice of the pairs after another, in one process, so a busy machine hits them alike;
they must agree on the number of valid pairs. No text stands twice, so nothing is gained by encoding equal texts once.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from latentext.pairs import PairTokenizer, Task, load_bank, load_task, load_tokenizers, validate_pairs
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


def usual_loop(pairs: Sequence[Pair], task: Task, tokenizers: Sequence[PreTrainedTokenizerBase]) -> int:
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


def bare_encoding(pairs: Sequence[Pair], task: Task, tokenizers: Sequence[PairTokenizer]) -> None:
    texts = [form.text(side) for pair in pairs for side in pair for form in task.forms]
    for tokenizer in tokenizers:
        tokenizer.backend.encode_batch(texts, add_special_tokens=False)


def substitute_seconds(sources: Sequence[str], task: str) -> float:
    """Wall time of the whole command for 1,500 scenarios, start and loading included; all must be valid."""
    options = [part for source in sources for part in ("--tokenizer", source)]
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "pairs.jsonl"))
        command = [sys.executable, "-m", "latentext", "pairs"]
        started = time.perf_counter()
        subprocess.run(
            [*command, "substitute", "--task", task, "--output", file, *options], check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - started
        subprocess.run([*command, "validate", file, "--same-word", *options], check=True, stdout=subprocess.DEVNULL)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("LATENTEXT_MATERIALS", Path(__file__).resolve().parents[2] / "shared" / "materials")
    parser.add_argument("--materials", type=Path, default=Path(default))
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folders = {name: options.materials / "tokenizers" / folder for name, folder in FOLDERS.items()}
    sources = [f"{name}={folder}" for name, folder in folders.items()]
    tokenizers, task = load_tokenizers(sources), load_task("refusal")
    usual = [AutoTokenizer.from_pretrained(folder) for folder in folders.values()]

    size = options.pairs // options.rounds
    pairs = made_up_pairs(size * options.rounds)
    # The round that only warms up gets the first slice, which comes again as the first that counts.
    slices = [pairs[:size], *(pairs[start : start + size] for start in range(0, len(pairs), size))]
    valid: dict[str, list[int]] = {"usual loop": [], "validator": []}

    def way(work: Callable[[Sequence[Pair]], int | None], name: str) -> Callable[[], int]:
        remaining: Iterator[list[Pair]] = iter(slices)

        def run() -> int:
            slice_ = next(remaining)
            found = work(slice_)
            if name in valid and found is not None:
                valid[name].append(found)
            return len(slice_)

        return run

    rows = measure(
        {
            "bare encode_batch": way(lambda slice_: bare_encoding(slice_, task, tokenizers), "bare"),
            "usual loop": way(lambda slice_: usual_loop(slice_, task, usual), "usual loop"),
            "validator": way(
                lambda slice_: sum(check.valid for check in validate_pairs(slice_, tokenizers, task.forms)), "validator"
            ),
        },
        options.rounds,
    )
    assert valid["usual loop"] == valid["validator"], "the two ways must agree"

    good = sum(valid["validator"][1:])
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{len(pairs):,} pairs, {good:,} valid, in {len(task.forms)} forms under {len(tokenizers)} tokenizers")
    for row in rows:
        print(f"  {row.name:18} {row.median:>8,.0f} pairs/s")
    bare, loop, ours = (row.rates for row in rows)
    for name, base, limit in (("usual loop", loop, SEED_LIMIT), ("bare encode_batch", bare, RAW_LIMIT)):
        ratios = [mine / other for mine, other in zip(ours, base, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} … {max(ratios):.2f})"
        print(f"  validator / {name}: {spread}, target at least {limit}")
    for name in ("refusal", "sentiment"):
        seconds = substitute_seconds(sources, name)
        print(f"  substitute {name}, 1,500 scenarios: {seconds:.1f} s, all valid; target {SUBSTITUTE_LIMIT:.0f} s")


if __name__ == "__main__":
    main()
