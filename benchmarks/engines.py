"""The transformers engine as `latentext complete` uses it: against a plain pipeline, and a sweep against its parts.

    python benchmarks/engines.py                  tiny, 96 prompts
    python benchmarks/engines.py --model PATH     another model folder

First table: texts of the same prompts by transformers' own ``pipeline`` one prompt at a time, as scripts in the field
write it, and by our engine in one batch (greedy, so both write the same texts; their number of tokens is compared).
The pipeline takes the first prompts only, since its rate does not depend on how many follow.

Second table: a sweep of three temperatures as one run – plan, records, receipts, views, one load of the model – against
the time that generating its texts alone takes in the same engine, as a quotient of elapsed and of processor time.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import pipeline

from latentext import make_dataset
from latentext.engines.engine import Generated
from latentext.engines.opening import open_transformers
from latentext.engines.transformers.engine import TransformersEngine
from latentext.plan import make_plan
from latentext.request import Request
from latentext.spec import Decoding, ModelSpec, Spec
from rounds import measure, print_table, save

FEW = 8
"""Prompts of the pipeline."""

TEMPERATURES = (1.0, 1.5, 2.0)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("pipeline", "sweep"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engine = open_transformers(ModelSpec(name=options.model))
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {engine.loaded.device}, {engine.loaded.dtype}")
    if options.only != "sweep":
        compare_pipeline(engine, options)
    if options.only != "pipeline":
        compare_sweep(engine, options)


def compare_pipeline(engine: TransformersEngine, options: argparse.Namespace) -> None:
    """Print the rates of both ways."""
    requests = planned(engine, spec_of(options, (0.0,)))
    title = f"{options.model}: {len(requests)} prompts × {options.tokens} tokens, greedy"
    forced = Decoding(min_new_tokens=options.tokens, max_new_tokens=options.tokens)
    rows = measure(
        {
            "pipeline, one prompt at a time": lambda: by_pipeline(engine, requests[:FEW], options.tokens),
            "our engine": lambda: by_engine(engine, requests, [forced]),
        },
        options.rounds,
    )
    print_table(title, rows)
    save(options.json, {title: rows})


def spec_of(options: argparse.Namespace, temperatures: Sequence[float]) -> Spec:
    """Prompts of different lengths, so that batches are ragged."""
    words = random.Random(0)
    lines = [" ".join(["say"] + ["word"] * words.randrange(4, 60)) for _ in range(options.prompts)]
    return Spec(
        model=ModelSpec(name=options.model),
        prompts={"list": lines, "chat_format": "if-any"},
        decoding={
            "temperature": list(temperatures),
            "top_k": 50,
            "min_new_tokens": options.tokens,
            "max_new_tokens": options.tokens,
        },
    )


def planned(engine: TransformersEngine, spec: Spec) -> list[Request]:
    """The requests of a spec."""
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(spec, tokenizer=engine.tokenizer, model_id="", directory=Path(folder), shard_size=4096)
        return [request for shard in plan.shards for request in plan.requests(shard)[0]]


def by_pipeline(engine: TransformersEngine, requests: Sequence[Request], tokens: int) -> int:
    """One prompt at a time through transformers' text-generation pipeline."""
    write = pipeline("text-generation", model=engine.loaded.model, tokenizer=engine.tokenizer)
    for request in requests:
        write(
            request.prompt,
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            return_full_text=False,
            add_special_tokens=False,
        )
    return tokens * len(requests)


def by_engine(engine: TransformersEngine, requests: Sequence[Request], decodings: Sequence[Decoding]) -> int:
    """All prompts at each of the decodings; returns the number of tokens."""
    made = [
        result
        for decoding in decodings
        for result in engine.generate(requests, range(1), decoding, seed=0)
        if isinstance(result, Generated)
    ]
    return sum(len(result.completion.token_ids) for result in made)


def compare_sweep(engine: TransformersEngine, options: argparse.Namespace) -> None:
    """Time a whole three-temperature run, its model loaded anew, against generating its texts."""
    sweep = spec_of(options, TEMPERATURES)
    requests = planned(engine, spec_of(options, (0.0,)))
    decodings = [sweep.decoding.at(temperature) for temperature in TEMPERATURES]
    quotients: list[tuple[float, float]] = []
    for number in range(options.rounds + 1):
        alone = timed(lambda: by_engine(engine, requests, decodings))
        folder = Path(tempfile.mkdtemp())
        whole = timed(lambda place=folder: make_dataset(sweep, place / "sweep").tokens)
        shutil.rmtree(folder)
        if number:
            quotients.append((whole[0] / alone[0], whole[1] / alone[1]))
    print(f"\n{options.model}: {len(requests)} prompts × 3 temperatures × {options.tokens} tokens")
    for name, values in zip(("elapsed", "processor"), zip(*quotients, strict=True), strict=True):
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"whole sweep / generation alone, {name} time: {middle:.3f} ({low:.3f} … {high:.3f})")
    print(f"last round: {whole[0]:.1f} s / {alone[0]:.1f} s elapsed, {whole[1]:.1f} s / {alone[1]:.1f} s processor")


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Seconds elapsed, and seconds of processor time, which others on the machine do not lengthen."""
    elapsed, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - elapsed, time.process_time() - processor


if __name__ == "__main__":
    main()
