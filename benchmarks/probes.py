"""Ridge probes of all sites of a dataset: the streaming closed form beside scikit-learn, and its peak memory.

    python benchmarks/probes.py                 50,000 rows, 8 sites
    python benchmarks/probes.py --memory        peak memory of a whole probe at 4 and at 40 shards
    python benchmarks/probes.py --writing       NumPy files beside plain writes to the same disk (writing.py)

Both read the same files. scikit-learn fits one penalty a site, in float32, with the site in memory; this package fits
nine penalties, chooses one on validation rows and predicts the test rows, for six columns, in float64. A rate is rows
of states a second, so the ratio is how many times faster the whole table of sites is made.

Memory is that of everything `latentext probe` does but the twins: probes of all sites, baselines, all metrics and their
intervals. Each figure is the peak (VmHWM) of a process of its own less that of one that only imported the modules;
ru_maxrss would count the memory of the process that started it.
"""

from __future__ import annotations

import argparse
import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from latentext.dataset.states import StatesWriter
from latentext.dataset.states_view import ShardParts, StatesView
from latentext.dataset.targets import remaining_tokens
from latentext.probes.division import TEST, TRAIN, VALIDATION
from latentext.probes.fitting import fit_ridge
from latentext.probes.posing import Posed, Question
from latentext.probes.probing import ask
from latentext.probes.rows import DatasetStates, ProbeRows
from latentext.request import StateRows
from rounds import measure, print_table, save
from writing import compare_writing

TEXT = 100
"""Rows of a text."""


def write_states(folder: Path, rows: int, sites: int, width: int, shard_texts: int) -> dict[str, StatesView]:
    """States of texts of `TEXT` tokens, as a run writes them."""
    names = [f"resid_post.{k}" for k in range(sites)]
    rng = np.random.default_rng(0)
    mixing = (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32)
    # Drawing as many numbers as gigabytes hold takes longer than all that is measured: some texts are dealt out.
    drawn = [rng.standard_normal((TEXT, width), np.float32) @ mixing for _ in range(64)]
    shards = []
    remaining = np.arange(TEXT - 1, -1, -1, dtype=np.int32)
    for number, start in enumerate(range(0, rows // TEXT, shard_texts)):
        writer = StatesWriter(folder, number, dict.fromkeys(names, width), torch.float32)
        stop = min(start + shard_texts, rows // TEXT)
        for index in range(start, stop):
            position = np.arange(TEXT, dtype=np.int32)
            tensors = {}
            for name in names:
                states = drawn[rng.integers(len(drawn))].copy()
                states[:, 0] += 0.05 * remaining
                tensors[name] = torch.from_numpy(states)
            writer.add(StateRows(index, 0, position, position, remaining, tensors))
        files = writer.close()
        shards.append(ShardParts(number, start, stop, tuple((folder / file.name, file.rows) for file in files)))
    return {name: StatesView(name, name, width, "float32", tuple(shards), lambda _shard: {}) for name in names}


def posed(texts: int) -> Posed:
    """65 % of the texts to train on, 15 % to choose by, 20 % to judge by; six columns of labels."""
    place = np.random.default_rng(1).permutation(texts) / texts
    part = np.where(place < 0.65, TRAIN, np.where(place < 0.8, VALIDATION, TEST)).astype(np.int8)
    numbers, lengths = np.arange(texts), np.full(texts, TEXT)
    rows = ProbeRows(numbers, numbers * TEXT, lengths, np.ones_like(numbers), lengths, None, part, remaining_tokens)
    return Posed(Question("remaining", "ridge"), rows)


def scikit_learn(source: DatasetStates, rows: ProbeRows, dtype: type) -> dict[str, np.ndarray]:
    """One penalty, one target, site after site."""
    known = rows.at(range(len(rows)))
    train, test = (np.flatnonzero(rows.part[known.text] == part) for part in (TRAIN, TEST))
    predicted = {}
    for name, view in source.views.items():
        states = view[:].astype(dtype)
        scaler = StandardScaler().fit(states[train])
        ridge = Ridge(alpha=1e-3 * len(train)).fit(scaler.transform(states[train]), known.target[train].astype(dtype))
        predicted[name] = ridge.predict(scaler.transform(states[test]))
    return predicted


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Both ways in turn; their predictions must agree before a ratio is printed."""
    source = DatasetStates(write_states(folder, options.rows, options.sites, options.width, options.shard_texts))
    asked = posed(options.rows // TEXT)
    rows, test = asked.rows, asked.rows.of(TEST)
    target = test.at(range(len(test))).target
    ours = fit_ridge(source, rows, asked.labels)
    for site, theirs in scikit_learn(source, rows, np.float64).items():
        predicted = ours[site].test.read(0, len(test))[:, 0]
        wrong = [float(np.square(found - target).mean()) for found in (predicted, theirs)]
        assert abs(wrong[0] - wrong[1]) < 0.02 * target.var(), site  # The penalties differ, so the last digits do.
    states = options.rows * options.sites

    def streaming() -> int:
        fit_ridge(source, rows, asked.labels)
        return states

    def plain(dtype: type) -> int:
        scikit_learn(source, rows, dtype)
        return states

    ways = {
        "scikit-learn Ridge, float32, one penalty": lambda: plain(np.float32),
        "scikit-learn Ridge, float64, one penalty": lambda: plain(np.float64),
        "latentext, nine penalties, six columns": streaming,
    }
    measured = measure(ways, options.rounds)
    title = f"{options.rows:,} rows x {options.sites} sites x {options.width}: rows of states a second"
    print_table(title, measured, unit="rows/s")
    save(options.json, {title: measured})


def peak(*arguments: str) -> float:
    """MiB of a process of its own at its peak."""
    return float(subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True).stdout)


def print_peak(shards: Path | None) -> None:
    """What such a process does: with the parts of a dataset a whole probe, else nothing."""
    if shards is not None:
        parts, names, width = pickle.loads(shards.read_bytes())
        views = {name: StatesView(name, name, width, "float32", parts, _no_tokens) for name in names}
        ask(posed(parts[-1].stop), DatasetStates(views))
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def _no_tokens(_shard: int) -> dict[tuple[int, int], np.ndarray]:
    return {}


def compare_memory(folder: Path, options: argparse.Namespace) -> None:
    """Four shards, and forty: the same files stand for the shards that follow, so that little need be written."""
    imports = peak("--peak-of-imports")
    print(f"imports alone: {imports:,.0f} MiB")
    rows = 4 * options.shard_texts * TEXT
    views = write_states(folder, rows, options.sites, options.width, options.shard_texts)
    four = views["resid_post.0"].shard_parts
    for times in (1, 10):
        shards = tuple(
            ShardParts(
                again * len(four) + shard.number,
                again * four[-1].stop + shard.start,
                again * four[-1].stop + shard.stop,
                shard.parts,
            )
            for again in range(times)
            for shard in four
        )
        described = folder / f"{times}.pickle"
        described.write_bytes(pickle.dumps((shards, list(views), options.width)))
        size = times * rows * options.sites * options.width * 4 / 2**20
        added = peak("--peak-of", str(described)) - imports
        print(f"{len(shards):>3} shards ({times * rows:,} rows, {size:,.0f} MiB of states): {added:,.1f} MiB more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--shard-texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="peak memory instead of speed")
    parser.add_argument("--writing", action="store_true", help="the writing of NumPy files instead of probes")
    parser.add_argument("--json", type=Path, help="write all rates here")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peak-of-imports", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of or options.peak_of_imports:
        print_peak(options.peak_of)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}")
    folder = Path(tempfile.mkdtemp(prefix="probes-"))
    try:
        (compare_memory if options.memory else compare_writing if options.writing else compare)(folder, options)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
