"""Texts with hidden states on disk: our way against the way of batch-1 scripts, on the same model and prompts.

    python benchmarks/capture.py                                      tiny: forced lengths, then the demo's ragged texts
    python benchmarks/capture.py --model PATH                         another model folder
    python benchmarks/capture.py --shape llama-3.2-3b --device cuda   random weights in the shape of a published model
    python benchmarks/capture.py --memory                             peak memory at 4 and at 40 shards

Rows: *plain batch 1* is transformers' ``generate`` alone; *batch 1, all layers kept* adds
``output_hidden_states=True``, keeps every layer of every step until the text is done, and saves them, as scripts in
the field do – both on the first prompts only, since their rate does not depend on how many follow. Then our engine
alone, with two sites in flight, and whole runs with all files written and synced.
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from latentext import make_dataset
from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import choose_device, load_model, loaded_from
from latentext.models.resolve import resolve_model
from latentext.plan import make_plan
from latentext.request import Request
from latentext.spec import Decoding, ModelSpec, Spec, StatesSpec
from rounds import Way, measure, print_table, save
from shapes import SHAPES, random_model

FEW = 6
"""Prompts of the batch-1 rows."""


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak-of", type=int, metavar="SHARDS", help=argparse.SUPPRESS)
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
    requests = random_requests(options.prompts, engine.loaded.vocab_size)
    forced = Decoding(min_new_tokens=options.tokens, max_new_tokens=options.tokens)
    name = options.shape or options.model
    title = f"{name}: {options.prompts} prompts × {options.tokens} forced tokens"
    tables = {title: measure(ways(engine, requests, forced, shard_size=options.prompts), options.rounds)}
    print_table(title, tables[title])
    if options.model == "tiny" and not options.shape:
        recipe = Spec(
            prompts={
                "template": 'Print exactly {count} repetitions of "{word}".',
                "grid": {
                    "count": {"range": [5, 50]},
                    "word": ["hello", "world", "cat", "dog", "python", "test", "apple", "blue", "sun", "code"],
                },
            },
            states=StatesSpec(),
        )
        title = "tiny: the demo's 450 ragged texts"
        with tempfile.TemporaryDirectory() as folder:
            plan = make_plan(recipe, tokenizer=engine.tokenizer, model_id="", directory=Path(folder), shard_size=450)
            ragged = plan.requests(plan.shards[0])[0]
        # The batch-1 rows take texts from the whole range of lengths, as many as they take of the forced ones.
        rows = {**ways(engine, ragged, recipe.decoding, shard_size=128, few=ragged[:: len(ragged) // FEW][:FEW])}
        rows["whole run, two sites, files synced"] = lambda: whole_run(engine, recipe)
        tables[title] = measure(rows, options.rounds)
        print_table(title, tables[title])
    save(options.json, tables)


def ways(
    engine: TransformersEngine,
    requests: list[Request],
    decoding: Decoding,
    *,
    shard_size: int,
    few: list[Request] | None = None,
) -> dict[str, Way]:
    """The rows of a table, by name; the first is what ratios are taken against."""
    few = few or requests[:FEW]
    blocks = engine.loaded.layout.num_blocks
    two = Capture(StatesSpec(), (f"resid_post.{blocks // 2}", "final_norm"))
    return {
        "batch 1, all layers kept, saved": lambda: batch_one(engine, few, decoding, keep_states=True),
        "batch 1, plain": lambda: batch_one(engine, few, decoding, keep_states=False),
        "our engine, no states": lambda: ours(engine, requests, decoding, None, shard_size),
        "our engine, two sites in flight": lambda: ours(engine, requests, decoding, two, shard_size),
        "our engine, two sites, files synced": lambda: ours(engine, requests, decoding, two, shard_size, write=True),
    }


def batch_one(engine: TransformersEngine, requests: list[Request], decoding: Decoding, *, keep_states: bool) -> int:
    """One prompt at a time through ``generate``; with states, every layer of every step is kept and saved."""
    model, tokens = engine.loaded.model, 0
    rows, remaining = [], []
    for request in requests:
        prompt = torch.tensor([list(request.prompt_token_ids)], device=engine.loaded.device)
        with torch.no_grad():
            output = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=decoding.max_new_tokens,
                min_new_tokens=decoding.min_new_tokens,
                do_sample=False,
                pad_token_id=engine.loaded.pad_token_id,
                eos_token_id=sorted(engine.loaded.eos_token_ids),
                return_dict_in_generate=True,
                output_hidden_states=keep_states,
            )
        new = output.sequences.shape[1] - prompt.shape[1]
        tokens += new
        for step in range(new if keep_states else 0):
            rows.append(output.hidden_states[step][-1][0, -1].float().cpu().numpy())
            remaining.append(new - 1 - step)
    if keep_states:
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "hidden_states.npy", np.array(rows))
            np.save(Path(folder) / "remaining_tokens.npy", np.array(remaining))
    return tokens


def ours(
    engine: TransformersEngine,
    requests: list[Request],
    decoding: Decoding,
    capture: Capture | None,
    shard_size: int,
    *,
    write: bool = False,
) -> int:
    """All prompts through our engine, shard by shard; with `write`, states and records as a run writes them."""
    from latentext.dataset.records import write_records
    from latentext.dataset.states import StatesWriter

    tokens = 0
    with tempfile.TemporaryDirectory() as name:
        for number, start in enumerate(range(0, len(requests), shard_size)):
            shard = requests[start : start + shard_size]
            widths = {} if capture is None else {s: engine.loaded.layout.width(s) for s in capture.sites}
            writer = StatesWriter(Path(name), number, widths, engine.loaded.dtype)
            completions = []
            for result in engine.generate(shard, range(1), decoding, 0, capture=capture):
                assert isinstance(result, Generated)
                completions.append(result.completion)
                tokens += len(result.completion.token_ids)
                if write and result.states is not None:
                    writer.add(result.states)
            if write:
                writer.close()
                write_records(Path(name) / f"{number:05d}.parquet", shard, completions)
    return tokens


def whole_run(engine: TransformersEngine, spec: Spec) -> int:
    """A run as the command line makes it, the model already in memory."""
    with tempfile.TemporaryDirectory() as folder:
        two = StatesSpec(sites=(engine.loaded.layout.num_blocks // 2, "final_norm"))
        return make_dataset(spec.model_copy(update={"states": two}), Path(folder) / "run", engine=engine).tokens


def open_engine(options: argparse.Namespace) -> TransformersEngine:
    """The model by name, or random weights in a published shape with the tokenizer of `tiny`."""
    if options.shape is None:
        return TransformersEngine(load_model(ModelSpec(name=options.model, device=options.device)))
    tokenizer = load_model(ModelSpec(name="tiny", device="cpu")).tokenizer
    device = choose_device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = random_model(options.shape, len(tokenizer), device, dtype)
    return TransformersEngine(loaded_from(model, tokenizer, resolve_model("tiny")))


def random_requests(count: int, vocabulary: int) -> list[Request]:
    """Prompts of 20–40 random tokens."""
    rng = random.Random(0)
    prompts = [[rng.randrange(3, vocabulary) for _ in range(rng.randrange(20, 41))] for _ in range(count)]
    return [Request(i, f"{i:032x}", {}, [], "", prompt) for i, prompt in enumerate(prompts)]


def compare_memory() -> None:
    """Peak memory of whole runs of 4 and of 40 shards, each in a process of its own."""
    peaks = [
        int(subprocess.run([sys.executable, __file__, "--peak-of", str(n)], check=True, capture_output=True).stdout)
        for n in (4, 40)
    ]
    print(
        f"peak memory: {peaks[0] / 1e6:,.0f} MB at 4 shards, {peaks[1] / 1e6:,.0f} MB at 40: {peaks[1] / peaks[0]:.3f}x"
    )


def peak_of(shards: int) -> int:
    """Run that many shards of 64 texts with all sites kept; returns the process's peak memory in bytes."""
    rows = [{"prompt": f"Write a story about {n}."} for n in range(64 * shards)]
    spec = Spec(
        prompts={"list": rows},
        decoding=Decoding(min_new_tokens=32, max_new_tokens=32),
        states=StatesSpec(sites=("all",)),
        shard_size=64,
    )
    folder = Path(tempfile.mkdtemp())
    try:
        make_dataset(spec, folder / "run")
    finally:
        shutil.rmtree(folder)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
