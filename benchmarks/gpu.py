"""Hidden states on a GPU: random weights in the shape of published models, and how near each way comes to the machine.

    python benchmarks/gpu.py                                         Llama-3.2-3B and 3.1-8B, under ten minutes
    python benchmarks/gpu.py --shape llama-3.2-3b --json gpu.json    one shape, with the numbers as JSON
    python benchmarks/gpu.py --device cpu --shape tiny-random --prompts 8 --tokens 8    the script itself, without a GPU

Needs torch, transformers and this package, and no download. Rows take turns in each round after a warm-up, and a
round that would begin after --limit seconds is left out. *Ceilings* are measured first, in the same process: a copy of
a large tensor, a product of large matrices, one file written and synced. The share of bandwidth counts the weights once
a step and the keys and values that a step reads; that of arithmetic two operations a weight and token.

A turn that writes texts is --shards shards of that many prompts (one with all sites), a turn that reads them two, each
in a thread of its own as in a run: the states of one go to the disk, synced, while the texts of the next are written.
What the last one still has to write counts, and nothing is generated beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from capture import batch_one, random_requests
from latentext.dataset.states import StatesWriter
from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import kv_bytes_per_token, load_model, loaded_from
from latentext.models.resolve import resolve_model
from latentext.request import Request
from latentext.spec import Decoding, ModelSpec, StatesSpec
from latentext.states.replay import WrittenText, replay
from shapes import SHAPES, random_model
from spelled import SpelledTokens

FEW = 1
"""Prompts of the batch-1 row."""
DECISIVE = 500.0
"""How much larger input embeddings are than those that make the logits, so that a token repeats itself. As weights are
drawn, the two highest logits are within bf16 rounding, and two ways would not write the same text."""
NO_GPU = "gpu: no GPU is visible to torch here; run it where torch.cuda.is_available() is true (or try --device cpu)"


@dataclass(frozen=True)
class Ceilings:
    """What the machine gives: bytes a second of memory and disk, operations a second."""

    bandwidth: float
    arithmetic: float
    disk: float


Run = Callable[[list[Request], int], tuple[int, int]]
"""Works on so many shards of these requests; returns generated tokens and bytes of states on the disk."""


@dataclass(frozen=True)
class Way:
    """A row: what runs, with how many texts in flight (0: a replay), at how many of the model's blocks."""

    run: Run
    in_flight: int
    depth: float = 1.0
    shards: int | None = None


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="again for another; 3B and 8B by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=270.0, help="seconds a shape, after which no turn begins")
    parser.add_argument("--folder", type=Path, help="where states are written; a temporary folder by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(NO_GPU)
    report = {}
    for shape in options.shape or ["llama-3.2-3b", "llama-3.1-8b"]:
        report[shape] = compare(shape, options)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))
        if options.device.startswith("cuda"):
            torch.cuda.empty_cache()


def compare(shape: str, options: argparse.Namespace) -> dict[str, Any]:
    """The table of one shape."""
    started = time.perf_counter()
    device = torch.device(options.device)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    engine = open_random(shape, device, dtype)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ceilings = measure_ceilings(device, dtype, Path(folder))
        print(
            f"\n{shape}, {name}, {dtype}: {options.shards} × {options.prompts} prompts × {options.tokens} tokens; "
            f"memory {ceilings.bandwidth / 1e9:,.0f} GB/s, {ceilings.arithmetic / 1e12:,.1f} Tflop/s, "
            f"disk {ceilings.disk / 1e9:.2f} GB/s"
        )
        rows = run_rows(ways(engine, options, Path(folder)), options, engine, Path(folder), started)
    report = {"device": name, "ceilings": vars(ceilings), "rows": table(rows, engine, ceilings, options)}
    print(render(report["rows"]), flush=True)
    return report


def open_random(shape: str, device: torch.device, dtype: torch.dtype) -> TransformersEngine:
    """Random weights; no token ends a text, so that all texts are as long as asked."""
    tokenizer = load_model(ModelSpec(name="tiny", device="cpu")).tokenizer
    model = random_model(shape, len(tokenizer), device, dtype)
    with torch.no_grad():
        model.lm_head.weight.copy_(model.model.embed_tokens.weight)
        model.model.embed_tokens.weight.mul_(DECISIVE)
    loaded = loaded_from(model, SpelledTokens(tokenizer), resolve_model("tiny"))
    return TransformersEngine(replace(loaded, eos_token_ids=frozenset()))


def measure_ceilings(device: torch.device, dtype: torch.dtype, folder: Path) -> Ceilings:
    """The best of several tries each."""
    large = device.type == "cuda"
    source = torch.empty((2 << 30 if large else 64 << 20) // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    side = 8192 if large else 512
    left, right = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    content = os.urandom(16 << 20)
    pieces = 64 if large else 4

    def write() -> None:
        with (folder / "plain").open("wb", buffering=0) as file:
            for _ in range(pieces):
                file.write(content)
            os.fsync(file.fileno())

    copied = best(lambda: target.copy_(source), device)
    multiplied = best(lambda: left @ right, device)
    written = best(write, device, tries=2)
    (folder / "plain").unlink()
    return Ceilings(
        2 * source.numel() * dtype.itemsize / copied, 2 * side**3 / multiplied, pieces * len(content) / written
    )


def best(work: Callable[[], object], device: torch.device, tries: int = 5) -> float:
    """Seconds of the fastest try, after one that does not count."""
    seconds = []
    for _ in range(tries + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def ways(engine: TransformersEngine, options: argparse.Namespace, folder: Path) -> dict[str, Way]:
    """The rows; the first is what ratios are taken against."""
    blocks = engine.loaded.layout.num_blocks
    half = f"resid_post.{blocks // 2 - 1}"
    one = ("final_norm",)
    four = tuple(dict.fromkeys([*(f"resid_post.{blocks * k // 4}" for k in (1, 2, 3)), "final_norm"]))
    every = ("embed", *(f"resid_post.{k}" for k in range(blocks)), "final_norm")
    decoding = Decoding(min_new_tokens=options.tokens, max_new_tokens=options.tokens)
    slots = min(options.prompts, engine.slots_for(random_requests(options.prompts, 100), decoding))
    texts: dict[int, list[int]] = {}

    def seeds(requests: list[Request], count: int) -> tuple[int, int]:
        return batch_one(engine, requests[:FEW], decoding, keep_states=True), 0

    def shards(count: int, work: Callable[[int], tuple[int, int]]) -> tuple[int, int]:
        with ThreadPoolExecutor(engine.shards_in_flight) as threads:
            done = list(threads.map(work, range(count)))
        return sum(tokens for tokens, _ in done), sum(size for _, size in done)

    def flight(sites: tuple[str, ...]) -> Run:
        return lambda requests, count: shards(
            count, lambda n: write_texts(engine, requests, decoding, sites, folder, n, texts)
        )

    def reading(site: str) -> Run:
        return lambda requests, count: shards(count, lambda n: read_again(engine, requests, texts, site, folder, n))

    def verifying(requests: list[Request], count: int) -> tuple[int, int]:
        known = [replace(r, variables={"text": " ".join(map(str, texts[r.index]))}) for r in requests]
        expecting = decoding.model_copy(update={"expect": "text"})
        return shards(count, lambda n: write_texts(engine, known, expecting, one, folder, n, {}))

    return {
        "batch 1, all layers kept, saved": Way(seeds, 1),
        "batched, no states": Way(flight(()), slots),
        "in flight, 1 site": Way(flight(one), slots),
        f"in flight, {len(four)} sites": Way(flight(four), slots),
        f"in flight, all {len(every)} sites": Way(flight(every), slots, shards=1),
        "replay, full depth, 1 site": Way(reading("final_norm"), 0, shards=2),
        "replay, half depth, 1 site": Way(reading(half), 0, 0.5, shards=2),
        "repeat by verification, 1 site": Way(verifying, 0, shards=2),
    }


def write_texts(
    engine: TransformersEngine,
    requests: list[Request],
    decoding: Decoding,
    sites: tuple[str, ...],
    folder: Path,
    number: int,
    texts: dict[int, list[int]],
) -> tuple[int, int]:
    """Generate a shard; returns tokens and bytes of states on the disk. The texts are noted for rows that read them."""
    capture = Capture(StatesSpec(sites=sites), sites) if sites else None
    tokens = 0
    writer = states_writer(engine, sites, folder, number)
    for result in engine.generate(requests, range(1), decoding, 0, capture=capture):
        assert isinstance(result, Generated), result
        texts[result.completion.index] = list(result.completion.token_ids)
        tokens += len(result.completion.token_ids)
        if result.states is not None:
            writer.add(result.states)
    return tokens, sum(entry.size for entry in writer.close())


def read_again(
    engine: TransformersEngine,
    requests: list[Request],
    texts: dict[int, list[int]],
    site: str,
    folder: Path,
    number: int,
) -> tuple[int, int]:
    """States of the texts that were written, in one pass a batch."""
    known = [WrittenText(r.index, 0, r.prompt_token_ids, texts[r.index]) for r in requests]
    writer = states_writer(engine, (site,), folder, number)
    loaded = engine.loaded
    for rows in replay(loaded.layout, known, StatesSpec(sites=(site,)), (site,), dtype=loaded.dtype):
        writer.add(rows)
    return sum(len(text.token_ids) for text in known), sum(entry.size for entry in writer.close())


def states_writer(engine: TransformersEngine, sites: tuple[str, ...], folder: Path, number: int) -> StatesWriter:
    """As a run writes a shard."""
    widths = {s: engine.loaded.layout.width(s) for s in sites}
    return StatesWriter(folder, number, widths, engine.loaded.dtype, behind=engine.shards_in_flight > 1)


def run_rows(
    rows: dict[str, Way], options: argparse.Namespace, engine: TransformersEngine, folder: Path, started: float
) -> list[tuple[str, Way, list[float], list[float]]]:
    """Name, way, tokens a second and bytes a second of each round; the first, of one shard a row, does not count."""
    requests = random_requests(options.prompts, engine.loaded.vocab_size)
    measured: list[tuple[str, Way, list[float], list[float]]] = [(n, w, [], []) for n, w in rows.items()]
    turns = [(number, row) for number in range(options.rounds + 1) for row in measured]
    try:
        for number, (name, way, rates, disk) in turns:
            if number > 1 and time.perf_counter() - started > options.limit:
                break
            began = time.perf_counter()
            tokens, size = way.run(requests, (way.shards or options.shards) if number else 1)
            if engine.loaded.device.type == "cuda":
                torch.cuda.synchronize(engine.loaded.device)
            took = time.perf_counter() - began
            for path in folder.glob("*.safetensors"):  # Gigabytes: removing them takes as long as writing a shard.
                path.unlink()
            if number:
                rates.append(tokens / took)
                disk.append(size / took)
            what = f"round {number}" if number else "warm-up"
            print(f"{what}: {name}: {tokens / took:,.0f} tokens/s ({took:.1f} s)", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped: the table has what was measured", file=sys.stderr)
    return [row for row in measured if row[2]]


def table(
    rows: list[tuple[str, Way, list[float], list[float]]],
    engine: TransformersEngine,
    ceilings: Ceilings,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Medians, ratios inside rounds, and shares of the ceilings."""
    model = engine.loaded.model
    head = model.get_output_embeddings().weight
    body = sum(p.numel() for p in model.base_model.parameters()) - model.get_input_embeddings().weight.numel()
    size = engine.loaded.dtype.itemsize
    cached = kv_bytes_per_token(model.config.get_text_config(), engine.loaded.dtype) * (30 + options.tokens / 2)
    shown = []
    for name, way, rates, disk in rows:
        rate = statistics.median(rates)
        ratios = [mine / first for mine, first in zip(rates, rows[0][2], strict=False)]
        used = body * way.depth + (head.numel() if way.in_flight or "repeat" in name else 0)
        bytes_a_token = (body + head.numel()) * size / way.in_flight + cached if way.in_flight else None
        shown.append(
            {
                "name": name,
                "rates": rates,
                "tokens/s": rate,
                "ratio": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "bandwidth": None if bytes_a_token is None else rate * bytes_a_token / ceilings.bandwidth,
                "arithmetic": 2 * used * rate / ceilings.arithmetic,
                "disk bytes/s": statistics.median(disk),
                "disk": statistics.median(disk) / ceilings.disk,
            }
        )
    return shown


def render(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = "| | tokens/s | ratio | smallest … largest | of the bandwidth | of the arithmetic | states to disk |"
    out = [head, "|---" * 7 + "|"]
    for row in rows:
        bandwidth = "–" if row["bandwidth"] is None else f"{row['bandwidth']:.0%}"
        disk = f"{row['disk bytes/s'] / 1e6:,.0f} MB/s ({row['disk']:.0%})" if row["disk bytes/s"] else "–"
        out.append(
            f"| {row['name']} | {row['tokens/s']:,.0f} | {row['ratio']:.1f} | {row['least']:.1f} … {row['most']:.1f} "
            f"| {bandwidth} | {row['arithmetic']:.1%} | {disk} |"
        )
    return "\n".join(out)


if __name__ == "__main__":
    main()
