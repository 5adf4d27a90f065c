"""The engine vllm through the whole pipeline, against calling vLLM's `LLM.generate` once on all prompts.

    build/vllm-env/bin/python benchmarks/engines_vllm.py                         tiny, 512 prompts of 64 forced tokens
    build/vllm-env/bin/python benchmarks/engines_vllm.py --ragged --model PATH   texts that end by themselves
    build/vllm-env/bin/python benchmarks/engines_vllm.py --processes             vLLM in processes of its own

Both use one vLLM engine with the same settings, in turns; its prefix cache is emptied before each. `LLM.generate` gets
token ids and gives texts, and writes nothing. *Our engine* is `VllmEngine.generate`, shards of 128, two at a time;
*whole run* is `make_dataset`: plan, records on the disk, receipts, views. Text only, greedy. A second table has tokens
per second of processor time, which other users of the machine disturb less, and a third the seconds of each way in
which vLLM made no step: what is ours, whatever the machine does to vLLM (neither with `--processes`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from latentext.engines.engine import Generated
from latentext.engines.vllm import starting
from latentext.engines.vllm.engine import VllmEngine
from latentext.models.resolve import resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.request import Request
from latentext.run.runner import make_dataset
from latentext.spec import ModelSpec, Spec, VllmOptions
from latentext.spec.files import load_spec
from rounds import Row, measure, print_table, save

SHARD = 128


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ragged", action="store_true", help="texts may end before --tokens")
    parser.add_argument("--processes", action="store_true", help="VLLM_ENABLE_V1_MULTIPROCESSING=1")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if options.processes else "0"
    model = ModelSpec(name=options.model, engine="vllm", dtype="float32", vllm=VllmOptions(enforce_eager=True))
    spec = bench_spec(model, options)
    starting.prepare_environment()
    from vllm import LLM

    with tempfile.TemporaryDirectory(prefix="latentext-bench-") as folder:
        llm = LLM(**starting.engine_settings(model, (), Path(folder)) | {"skip_tokenizer_init": False})
        tokenizer = load_tokenizer(resolve_model(model.name))
        engine = VllmEngine(model, tokenizer, start=lambda *_: llm.llm_engine)
        requests = plan(spec, Path(folder), engine)
        ways = {
            "LLM.generate, once": lambda: generate_once(llm, requests, spec),
            "our engine": lambda: our_engine(engine, requests, spec),
            "whole run": whole_runs(engine, spec, Path(folder)),
        }
        by_processor: dict[str, list[float]] = {name: [] for name in ways}
        between: dict[str, list[float]] = {name: [] for name in ways}
        steps = Steps(llm)
        timed = {name: emptied(llm, way, by_processor[name], steps, between[name]) for name, way in ways.items()}
        rows = measure(timed, options.rounds)
        # The round that warms up is not counted there either.
        processor = [Row(name, rates[1:]) for name, rates in by_processor.items()]
        length = "ragged" if options.ragged else "forced"
        title = f"{Path(options.model).name}, {len(requests)} prompts × {options.tokens} tokens ({length})"
        print_table(title, rows)
        print_table("per second of processor time", processor)
        if not options.processes:
            print("\nseconds without a step of vLLM, median (smallest … largest)")
            for name, (_, *seconds) in between.items():
                print(f"{name:44} {statistics.median(seconds):10.2f}   ({min(seconds):.2f} … {max(seconds):.2f})")
        save(options.json, {title: rows, "processor": processor})
        engine.close()


def bench_spec(model: ModelSpec, options: argparse.Namespace) -> Spec:
    """Plain-text prompts of unequal length."""
    names = [f"{colour} {animal}" for colour in ("red", "very big green", "old") for animal in ("cat", "dog", "bird")]
    least = 0 if options.ragged else options.tokens
    return load_spec(
        {
            "model": model.model_dump(),
            "prompts": {
                "template": "Once upon a time there were {count} of the kind that we call a {name}",
                "grid": {"count": {"range": [0, -(-options.prompts // len(names))]}, "name": names},
                "use_chat_template": False,
                "limit": options.prompts,
            },
            "decoding": {"min_new_tokens": least, "max_new_tokens": options.tokens},
            "shard_size": SHARD,
        }
    )


def plan(spec: Spec, folder: Path, engine: VllmEngine) -> list[Request]:
    """The requests of the spec."""
    from latentext.plan import make_plan

    made = make_plan(spec, tokenizer=engine.tokenizer, model_id="", directory=folder / "plan", shard_size=SHARD)
    return [request for shard in made.shards for request in made.requests(shard)[0]]


class Steps:
    """Counts the seconds that vLLM's engine, where it is in this process, spends in its steps."""

    def __init__(self, llm: Any):
        self.seconds = 0.0
        core = getattr(llm.llm_engine.engine_core, "engine_core", None)
        if core is None:
            return
        step = core.step_fn

        def counted() -> Any:
            started = time.perf_counter()
            try:
                return step()
            finally:
                self.seconds += time.perf_counter() - started

        core.step_fn = counted


def emptied(
    llm: Any, way: Callable[[], int], by_processor: list[float], steps: Steps, between: list[float]
) -> Callable[[], int]:
    """The way, with an empty prefix cache; its tokens per second of processor time, and the seconds in which vLLM made
    no step, are noted."""

    def run() -> int:
        llm.reset_prefix_cache()
        started, processor, in_steps = time.perf_counter(), time.process_time(), steps.seconds
        tokens = way()
        by_processor.append(tokens / (time.process_time() - processor))
        between.append(time.perf_counter() - started - (steps.seconds - in_steps))
        return tokens

    return run


def generate_once(llm: Any, requests: list[Request], spec: Spec) -> int:
    """All prompts in one call, as a script would."""
    from vllm import SamplingParams

    decoding = spec.decoding
    params = SamplingParams(temperature=0, min_tokens=decoding.min_new_tokens, max_tokens=decoding.max_new_tokens)
    prompts = [{"prompt_token_ids": list(request.prompt_token_ids)} for request in requests]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    assert all(output.outputs[0].text is not None for output in outputs)
    return sum(len(output.outputs[0].token_ids) for output in outputs)


def our_engine(engine: VllmEngine, requests: list[Request], spec: Spec) -> int:
    """The same by shards, two at a time, with nothing written."""

    def write(shard: list[Request]) -> int:
        results = engine.generate(shard, range(1), spec.decoding, 0)
        return sum(len(r.completion.token_ids) for r in results if isinstance(r, Generated))

    shards = [requests[start : start + SHARD] for start in range(0, len(requests), SHARD)]
    with ThreadPoolExecutor(engine.shards_in_flight) as threads:
        return sum(threads.map(write, shards))


def whole_runs(engine: VllmEngine, spec: Spec, folder: Path) -> Callable[[], int]:
    """A dataset in a new directory each time."""
    numbers = count()
    return lambda: make_dataset(spec, folder / f"data-{next(numbers)}", engine=engine).tokens


if __name__ == "__main__":
    main()
