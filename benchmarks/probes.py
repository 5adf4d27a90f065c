"""Ridge probes of all sites of a dataset: the streaming closed form beside scikit-learn, and its peak memory.

    python benchmarks/probes.py                 50,000 rows, 8 sites
    python benchmarks/probes.py --memory        peak memory of one pass at 4 and at 40 shards
    python benchmarks/probes.py --writing       NumPy files beside plain writes to the same disk (writing.py)

Both read the same files. scikit-learn fits one penalty a site, in float32, with the site in memory; this package fits
nine penalties, chooses one on validation rows and predicts the test rows, for six columns, in float64. A rate is rows
of states a second, so the ratio is how many times faster the whole table of sites is made.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from latentext.dataset.parts import ROW_DTYPE
from latentext.dataset.states import StatesWriter
from latentext.dataset.states_view import ShardParts, StatesView
from latentext.probes.division import TEST, TRAIN, VALIDATION
from latentext.probes.fitting import fit_ridge
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
    shards = []
    remaining = np.arange(TEXT - 1, -1, -1, dtype=np.int32)
    for number, start in enumerate(range(0, rows // TEXT, shard_texts)):
        writer = StatesWriter(folder, number, dict.fromkeys(names, width), torch.float32)
        stop = min(start + shard_texts, rows // TEXT)
        for index in range(start, stop):
            position = np.arange(TEXT, dtype=np.int32)
            tensors = {}
            for name in names:
                states = rng.standard_normal((TEXT, width), np.float32) @ mixing
                states[:, 0] += 0.05 * remaining
                tensors[name] = torch.from_numpy(states)
            writer.add(StateRows(index, 0, position, position, remaining, tensors))
        files = writer.close()
        shards.append(ShardParts(number, start, stop, tuple((folder / file.name, file.rows) for file in files)))
    return {name: StatesView(name, name, width, "float32", tuple(shards), lambda _shard: {}) for name in names}


def rows_of(views: dict[str, StatesView]) -> tuple[ProbeRows, np.ndarray]:
    """65 % of the texts to train on, 15 % to choose by, 20 % to judge by; and six columns of labels."""
    columns = next(iter(views.values())).rows
    assert columns.dtype == ROW_DTYPE
    text, remaining = columns["index"].astype(np.int64), columns["remaining"].astype(np.int64)
    place = np.random.default_rng(1).permutation(text.max() + 1)[text] / (text.max() + 1)
    part = np.where(place < 0.65, TRAIN, np.where(place < 0.8, VALIDATION, TEST)).astype(np.int8)
    numbers, step = np.arange(len(text)), TEXT - 1 - remaining
    rows = ProbeRows(text, numbers, step, np.ones_like(step), remaining, None, remaining.astype(np.float64), part)
    labels = [rows.target, np.random.default_rng(2).permutation(rows.target), *(remaining <= k for k in (0, 1, 5, 10))]
    return rows, np.column_stack([np.asarray(column, np.float64) for column in labels])


def scikit_learn(views: dict[str, StatesView], rows: ProbeRows, dtype: type) -> dict[str, np.ndarray]:
    """One penalty, one target, site after site."""
    train, test = np.flatnonzero(rows.part == TRAIN), np.flatnonzero(rows.part == TEST)
    predicted = {}
    for name, view in views.items():
        states = view[:].astype(dtype)
        scaler = StandardScaler().fit(states[train])
        ridge = Ridge(alpha=1e-3 * len(train)).fit(scaler.transform(states[train]), rows.target[train].astype(dtype))
        predicted[name] = ridge.predict(scaler.transform(states[test]))
    return predicted


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Both ways in turn; their predictions must agree before a ratio is printed."""
    views = write_states(folder, options.rows, options.sites, options.width, options.shard_texts)
    rows, labels = rows_of(views)
    source = DatasetStates(views, rows.view_row)
    ours = {site: fitted.test[:, 0] for site, fitted in fit_ridge(source, rows, labels).items()}
    target = rows.target[rows.part == TEST]
    for site, theirs in scikit_learn(views, rows, np.float64).items():
        wrong = [float(np.square(found - target).mean()) for found in (ours[site], theirs)]
        assert abs(wrong[0] - wrong[1]) < 0.02 * target.var(), site  # The penalties differ, so the last digits do.
    states = options.rows * options.sites

    def streaming() -> int:
        fit_ridge(source, rows, labels)
        return states

    def plain(dtype: type) -> int:
        scikit_learn(views, rows, dtype)
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


def peak(folder: Path, options: argparse.Namespace, shards: int) -> float:
    """MiB of memory that one pass adds at its peak, in a process of its own."""
    rows = shards * options.shard_texts * TEXT
    views = write_states(folder, rows, options.sites, options.width, options.shard_texts)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_grown, (views["resid_post.0"].shard_parts, list(views), options.width))


def _grown(shards: tuple[ShardParts, ...], names: list[str], width: int) -> float:
    views = {name: StatesView(name, name, width, "float32", shards, _no_tokens) for name in names}
    rows, labels = rows_of(views)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit_ridge(DatasetStates(views, rows.view_row), rows, labels)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _no_tokens(_shard: int) -> dict[tuple[int, int], np.ndarray]:
    return {}


def compare_memory(folder: Path, options: argparse.Namespace) -> None:
    for shards in (4, 40):
        place = folder / str(shards)
        place.mkdir()
        size = shards * options.shard_texts * TEXT * options.sites * options.width * 4 / 2**20
        added = peak(place, options, shards)
        print(f"{shards:>3} shards ({size:,.0f} MiB of states): {added:,.0f} MiB more at the peak")
        shutil.rmtree(place)


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
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}")
    folder = Path(tempfile.mkdtemp(prefix="probes-"))
    try:
        (compare_memory if options.memory else compare_writing if options.writing else compare)(folder, options)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
