"""Texts with hidden states on disk, beside the tools that others use for it: one table a model.

    python benchmarks/peers.py --model tiny                 installs the peers (once), measures, prints the table
    python benchmarks/peers.py --model 8x256 --rounds 3     tiny, stories260k, 8x256, 12x768, or a folder
    python benchmarks/peers.py --model tiny --only seeds,nnsight
    python benchmarks/peers.py --model tiny --quick         8 prompts of 16 tokens, two rounds
    python benchmarks/peers.py --model tiny --table         the table of the last results, nothing is run

Every peer is a process of its own, in an environment of its own under build/peers (or $PEERS_HOME), and loads the
model once; then all take turns within each round: same prompts, number of tokens, two sites (outputs of two blocks),
float32, threads. States are on the disk when the clock stops, synced (the first row's are not: its procedure is
unchanged).
Batch-1 rows run on the first prompts only, for their rate does not depend on how many follow; another row gets fewer
prompts only where its turn would take longer than --turn seconds, and the table says so. A peer that fails keeps its
row, with the error. Results are written after each round to build/peers/results-MODEL.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from peers.environments import ROOT, NotInstalled, python_of
from peers.table import largest_difference, render
from peers.texts import Model, first, jobs, open_model
from peers.workers import PeerFailed, Worker

FEW = 6
"""Prompts of the batch-1 rows."""
CHECKED = 4
"""Texts of each row whose states are compared."""
PATIENCE = 600.0
"""Seconds until a peer that does not answer is given up."""
ALL_SETS = "forced,ragged,given"


@dataclass(frozen=True)
class Way:
    """A row: who does it and where. `few`: batch 1, so on few prompts."""

    key: str
    name: str
    module: str
    environment: str | None
    way: str
    sets: tuple[str, ...] = ("forced", "ragged")
    few: bool = False


WAYS = [
    Way("seeds", "transformers, batch 1, all layers kept, saved", "transformers", None, "seeds", few=True),
    Way("plain", "transformers, batch 1, no states", "transformers", None, "plain", few=True),
    Way("batched", "transformers, one batch, `output_hidden_states`", "transformers", None, "batched"),
    Way("nnsight", "nnsight, traced generation, its cache", "nnsight", "nnsight", "generate"),
    Way("lens", "TransformerLens, generation under hooks", "transformer_lens", "transformer_lens", "generate"),
    Way("vllm", "vLLM, its extraction of hidden states", "vllm", "vllm", "extract"),
    Way("ours", "latentext, in flight", "latentext", None, "in flight"),
    Way("ours-vllm-replay", "latentext with vLLM, replay", "latentext_vllm", "vllm", "replay"),
    Way("ours-vllm-extract", "latentext with vLLM, extraction", "latentext_vllm", "vllm", "extract"),
    Way("lens-given", "TransformerLens, `run_with_cache`", "transformer_lens", "transformer_lens", "given", ("given",)),
    Way("ours-given", "latentext, replay", "latentext", None, "given", ("given",)),
]


def main() -> None:
    """Measure or print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turn", type=float, default=20.0, help="seconds that one turn of a row may take, about")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of all, after which no round begins")
    parser.add_argument("--only", default="", help=f"rows, by commas: {', '.join(way.key for way in WAYS)}")
    parser.add_argument("--sets", default=ALL_SETS, help="which tables, by commas; some alone have a file of results")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the table of the last results")
    options = parser.parse_args()
    if options.quick:
        options.prompts, options.tokens, options.rounds = 8, 16, 2
    home = Path(os.environ.get("PEERS_HOME", ROOT / "build" / "peers")).resolve()
    label = Path(options.model).name + ("-quick" if options.quick else "") + ("-partial" if options.only else "")
    label += "" if options.sets == ALL_SETS else f"-{options.sets.replace(',', '-')}"
    results = home / f"results-{label}.json"
    if options.table:
        if not results.exists():
            parser.error(f"{results} does not exist: run without --table first")
        print(render(json.loads(results.read_text())))
        return
    only = options.only.split(",") if options.only else [way.key for way in WAYS]
    if unknown := set(only) - {way.key for way in WAYS}:
        parser.error(f"--only {', '.join(sorted(unknown))}: known are {', '.join(way.key for way in WAYS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that the workers end too.
    compare(options, home, results, [way for way in WAYS if way.key in only])


def compare(options: argparse.Namespace, home: Path, results: Path, ways: list[Way]) -> None:
    """All rows of all sets for one model."""
    started = time.perf_counter()
    home.mkdir(parents=True, exist_ok=True)
    model = open_model(options.model, home)
    sets = {name: job for name, job in jobs(model, options.prompts, options.tokens).items() if name in options.sets}
    scratch = home / "scratch" / f"{model.folder.name}-{os.getpid()}"
    bench = Bench(model, home, scratch, options, {})
    try:
        rows = {name: [Row(way, name) for way in ways if name in way.sets] for name in sets}
        report: dict[str, Any] = {
            "model": Path(options.model).name,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "threads": options.threads,
            "titles": {name: title(name, options) for name in sets},
        }
        for name, job in sets.items():
            for row in rows[name]:
                prepare(bench, row, job)
            say_same(rows[name])
        for number in range(options.rounds):
            began = time.perf_counter()
            for name, job in sets.items():
                for row in rows[name]:
                    turn(bench, row, job, number)
            report["versions"], report["sets"] = bench.versions, {n: [r.shown() for r in rs] for n, rs in rows.items()}
            report["rounds"] = number + 1
            results.write_text(json.dumps(report, indent=1))
            took, used = time.perf_counter() - began, time.perf_counter() - started
            print(f"round {number + 1} took {took:.0f} s; {used:.0f} s so far", flush=True)
            if number + 1 < options.rounds and used + took > options.limit:
                print(f"no further round fits into --limit {options.limit:.0f}", flush=True)
                break
        print(render(report), f"\n{results}", sep="")
    finally:
        bench.close()


def title(name: str, options: argparse.Namespace) -> str:
    """What a set is, for the head of its table."""
    size = f"{options.prompts} prompts × "
    return {
        "forced": f"{size}{options.tokens} forced tokens",
        "ragged": f"{size}at most {options.tokens} tokens, ragged",
        "given": f"{size}{options.tokens} given tokens, only read",
    }[name]


class Row:
    """One line of a table while it is measured."""

    def __init__(self, way: Way, set_name: str):
        self.way, self.set_name = way, set_name
        self.prompts = 0
        self.rates: list[float] = []
        self.error: str | None = None
        self.difference: float | None = None
        self.ids: list[list[int]] = []
        self.same: str | None = None

    def shown(self) -> dict[str, Any]:
        """As the JSON file has it."""
        return {"key": self.way.key, "name": self.way.name} | {
            k: getattr(self, k) for k in ("prompts", "rates", "error", "difference", "same")
        }


@dataclass
class Bench:
    """The workers that are up, and where everything is."""

    model: Model
    home: Path
    scratch: Path
    options: argparse.Namespace
    versions: dict[str, dict[str, str]]

    def __post_init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.failed: dict[str, str] = {}

    def worker(self, way: Way) -> Worker:
        """The process of a row, started and loaded if it is not; vLLM does one way a process."""
        key = f"{way.module}-{way.way}" if way.environment == "vllm" else way.module
        if key in self.failed:
            raise PeerFailed(self.failed[key])
        if key not in self.workers:
            try:
                self._start(key, way)
            except (PeerFailed, NotInstalled) as error:
                self.failed[key] = str(error)
                raise
        return self.workers[key]

    def _start(self, key: str, way: Way) -> None:
        python = python_of(way.environment, self.home)
        log = self.home / "logs" / f"{self.model.folder.name}-{key.replace(' ', '-')}.log"
        worker = self.workers[key] = Worker(python, way.module, log, self.options.threads)
        answer = worker.ask({"load": str(self.model.folder), "threads": self.options.threads}, PATIENCE)
        self.versions[way.module] = answer["versions"]

    def do(self, way: Way, job: dict[str, Any], check: int = 0) -> dict[str, Any]:
        """One job; its files are gone afterwards, but for those that `check` reads."""
        folder = self.scratch / way.key
        shutil.rmtree(folder, ignore_errors=True)
        answer = self.worker(way).ask({"way": way.way, "job": {**job, "folder": str(folder)}, "check": check}, PATIENCE)
        if "check" in answer:
            with np.load(answer["check"]) as arrays:
                count = len(arrays.files) // 2
                answer["texts"] = [(arrays[f"ids{i}"].tolist(), arrays[f"states{i}"]) for i in range(count)]
        shutil.rmtree(folder, ignore_errors=True)
        return answer

    def close(self) -> None:
        """End all processes and remove their files."""
        for worker in self.workers.values():
            worker.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


REFERENCE = Way("reference", "", "transformers", None, "reference")


def prepare(bench: Bench, row: Row, job: dict[str, Any]) -> None:
    """Start, warm up on few tokens, compare the states, and find how many prompts fit into a turn."""
    options, began = bench.options, time.perf_counter()
    row.prompts = min(FEW, options.prompts) if row.way.few else options.prompts
    short = first(job, row.prompts)
    if row.set_name != "given":
        short["tokens"] = min(16, options.tokens)
    try:
        answer = bench.do(row.way, first(short, min(FEW, row.prompts)))  # Starts what starts with the first texts.
        answer = bench.do(row.way, short, CHECKED)
        if "texts" in answer:
            texts = answer["texts"]
            row.ids = [ids for ids, _ in texts]
            asked = {**first(job, len(texts)), "given": row.ids}
            expected = bench.do(REFERENCE, asked, CHECKED)["texts"]
            row.difference = largest_difference([s for _, s in texts], [s for _, s in expected])
    except (PeerFailed, NotInstalled, ValueError) as error:
        row.error = str(error)
    else:
        whole = 1 if row.set_name == "given" else options.tokens / short["tokens"]
        if not row.way.few and answer["seconds"] * whole > options.turn:
            fitting = int(row.prompts * options.turn / (answer["seconds"] * whole))
            row.prompts = max(min(8, row.prompts), fitting // 8 * 8)
    said = row.error or ("no states" if row.difference is None else f"states differ by {row.difference:.1e}")
    took = time.perf_counter() - began
    print(f"{row.set_name}: {row.way.name}: {said}; {row.prompts} prompts ({took:.0f} s to get there)", flush=True)


def say_same(rows: list[Row]) -> None:
    """How many of the compared texts are token for token those of the first row that wrote some."""
    base = next((row for row in rows if row.ids), None)
    for row in rows:
        if base is not None and row.ids and row.set_name != "given":
            pairs = list(zip(row.ids, base.ids, strict=False))
            row.same = f"{sum(mine == theirs for mine, theirs in pairs)} of {len(pairs)}"


def turn(bench: Bench, row: Row, job: dict[str, Any], number: int) -> None:
    """One turn of one row."""
    if row.error:
        return
    started = time.perf_counter()
    try:
        answer = bench.do(row.way, first(job, row.prompts))
    except PeerFailed as error:
        row.error = str(error)
        print(f"round {number + 1}, {row.set_name}: {row.way.name}: {row.error}", flush=True)
        return
    rate = answer["tokens"] / answer["seconds"]
    row.rates.append(rate)
    took = time.perf_counter() - started
    print(f"round {number + 1}, {row.set_name}: {row.way.name}: {rate:,.0f} tokens/s ({took:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
