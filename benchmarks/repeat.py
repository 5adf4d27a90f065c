"""Texts that are known beforehand: verified in one pass, against decoding them, and against batch-1 scripts.

    python benchmarks/repeat.py                                        tiny: 64 texts of 300 tokens, then `create`
    python benchmarks/repeat.py --model PATH --tokens 150              another model folder
    python benchmarks/repeat.py --shape llama-3.2-3b --device cuda     random weights in the shape of a published model
    python benchmarks/repeat.py --memory                               peak memory of calls with 256 and 2,560 prompts

The expected texts are the model's own greedy continuations, so every token verifies; end tokens are ignored, so all
texts are as long as asked. All rows write the same texts and keep the state at the last token; *batch 1, all layers
kept* does it as scripts in the field do, on a few prompts, since its rate does not depend on how many follow. *Whole
call* is `extract_and_save_hidden_states` with every file written.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from capture import batch_one, open_engine, random_requests
from latentext.compat.gpi_pack import extract_and_save_hidden_states
from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.request import Request
from latentext.spec import Decoding, StatesSpec
from rounds import Row, Way, measure, print_table, save
from shapes import SHAPES
from spelled import SpelledTokens

FEW = 4
"""Prompts of the batch-1 rows."""
LAST = Capture(StatesSpec(pool=("last",)), ("final_norm",))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--create", type=int, default=256, metavar="PROMPTS", help="0 leaves the second table out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--processor-time", action="store_true", help="where others use the machine too; set one thread"
    )
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak-of", type=int, metavar="PROMPTS", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.peak_of:
        print(peak_of(options.peak_of))
    elif options.memory:
        compare_memory()
    else:
        compare_rates(options)


def compare_rates(options: argparse.Namespace) -> None:
    """Print the tables for one model."""
    engine = open_engine(options)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {engine.loaded.device}, {engine.loaded.dtype}")
    name = options.shape or options.model
    tables = {f"{name}: {options.texts} known texts of {options.tokens} tokens": repeat_rows(engine, options)}
    if options.create and not options.shape:
        tables[f"{name}: create, {options.create} prompts, at most 100 tokens"] = create_rows(engine, options)
    for title, rows in tables.items():
        print_table(title, rows)
    rows = next(iter(tables.values()))
    gains = [verified / decoded for verified, decoded in zip(rows[2].rates, rows[1].rates, strict=True)]
    print(f"verifying against decoding: {statistics.median(gains):.2f}x, {min(gains):.2f} … {max(gains):.2f}")
    save(options.json, tables)


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    """Seconds as they pass, or those of this process."""
    return time.process_time if options.processor_time else time.perf_counter


def repeat_rows(engine: TransformersEngine, options: argparse.Namespace) -> list[Row]:
    """Decode, then verify what was decoded."""
    tokenizer = SpelledTokens(engine.tokenizer)
    endless = TransformersEngine(replace(engine.loaded, eos_token_ids=frozenset(), tokenizer=tokenizer))
    decoding = Decoding(max_new_tokens=options.tokens)
    requests = random_requests(options.texts, engine.loaded.vocab_size)
    texts = {r.completion.index: r.completion.token_ids for r in written(endless, requests, decoding)}
    known = [replace(r, variables={"text": " ".join(map(str, texts[r.index]))}) for r in requests]
    expecting = decoding.model_copy(update={"expect": "text"})
    verified = written(endless, known, expecting)
    exact = sum(list(r.completion.token_ids) == list(texts[r.completion.index]) for r in verified)
    passes = [r.completion.verification.passes for r in verified if r.completion.verification]
    print(f"{exact} of {len(verified)} texts equal token for token; passes a text: {statistics.mean(passes):.2f}")
    forced = Decoding(min_new_tokens=options.tokens, max_new_tokens=options.tokens)
    ways: dict[str, Way] = {
        "batch 1, all layers kept, saved": lambda: batch_one(engine, requests[:FEW], forced, keep_states=True),
        "our engine, decoding": lambda: count(written(endless, known, decoding)),
        "our engine, verifying": lambda: count(written(endless, known, expecting)),
    }
    return measure(ways, options.rounds, clock_of(options))


def create_rows(engine: TransformersEngine, options: argparse.Namespace) -> list[Row]:
    """New texts, with all files of the recipe."""
    prompts = [f"Write a biography of person number {number}." for number in range(options.create)]
    requests = random_requests(FEW, engine.loaded.vocab_size)
    ways: dict[str, Way] = {
        "batch 1, all layers kept, saved": lambda: batch_one(
            engine, requests, Decoding(max_new_tokens=100), keep_states=True
        ),
        "whole call, all files": lambda: whole_call(engine, prompts),
    }
    return measure(ways, options.rounds, clock_of(options))


def whole_call(engine: TransformersEngine, prompts: Sequence[str]) -> int:
    """The recipe's function into an empty folder, the model already in memory."""
    config = {"use_chat_template": bool(engine.tokenizer.chat_template)}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = extract_and_save_hidden_states(
            prompts, f"{folder}/hidden", f"{folder}/texts", engine.tokenizer, engine.loaded.model,
            max_new_tokens=100, tokenizer_config=config,
        )  # fmt: skip
        return made.run.tokens


def compare_memory() -> None:
    """Peak memory of whole calls, each in a process of its own."""
    few, many = 256, 2_560
    peaks = [
        int(subprocess.run([sys.executable, __file__, "--peak-of", str(n)], check=True, capture_output=True).stdout)
        for n in (few, many)
    ]
    sizes = f"{peaks[0] / 1e6:,.0f} MB with {few} prompts, {peaks[1] / 1e6:,.0f} MB with {many:,}"
    print(f"peak memory: {sizes}: {peaks[1] / peaks[0]:.3f}x")


def peak_of(prompts: int) -> int:
    """One call of the recipe's function; returns the process's peak memory in bytes."""
    texts = [f"Write a biography of person number {number}." for number in range(prompts)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extract_and_save_hidden_states(texts, f"{folder}/hidden", f"{folder}/texts", "tiny", "tiny", max_new_tokens=24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def written(engine: TransformersEngine, requests: Sequence[Request], decoding: Decoding) -> list[Generated]:
    """All texts with their state at the last token."""
    results = list(engine.generate(requests, range(1), decoding, 0, capture=LAST))
    assert all(isinstance(result, Generated) for result in results), results[:1]
    return [result for result in results if isinstance(result, Generated)]


def count(results: Sequence[Generated]) -> int:
    """Generated tokens."""
    return sum(len(result.completion.token_ids) for result in results)


if __name__ == "__main__":
    main()
