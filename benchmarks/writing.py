"""How fast NumPy files are written: `save_dataset` and ``export --to npy`` beside plain sequential writes to that disk.

Plain is the least that can be done: one file of as many bytes in pieces of a mebibyte, synced. All ways write the same
number of bytes of states in turn, so whatever the disk does meanwhile happens to each of them.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml

import latentext
from latentext.dataset import layout
from latentext.dataset.reader import Dataset
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.records import count_records, write_records
from latentext.dataset.stages import StatesStage, write_stage
from latentext.dataset.states import StatesWriter
from latentext.export.npy import export_npy
from latentext.export.saving import save_dataset
from latentext.request import Completion, Request, StateRows
from latentext.storage import filesystem
from rounds import measure, print_table, save

MEBIBYTE = 2**20
TEXT = 100
"""Rows of a text."""
PROMPT = 10
SHARD = 128


def make_dataset(root: Path, rows: int, sites: int, width: int) -> Dataset:
    """A dataset of this many rows, its files written as a run writes them."""
    names = ["embed", *(f"resid_post.{k}" for k in range(sites - 2)), "final_norm"]
    root.mkdir()
    spec = {"name": "made", "prompts": {"list": [f"prompt {k}" for k in range(rows // TEXT)]}}
    (root / layout.SPEC).write_text(yaml.safe_dump({**spec, "states": {"sites": names}}))
    (root / layout.PROVENANCE).write_text('{"format_version": 1, "identity": {}}')
    widths, stage, records = dict.fromkeys(names, width), layout.states_folder("made"), layout.records_folder(range(1))
    declared = StatesStage(
        samples=(0, 1),
        sites=tuple(names),
        positions="generated",
        pool=("none",),
        dtype="float32",
        how="inflight",
        widths=widths,
        num_layers=sites,
        huggingface_indices=tuple(range(sites)),
    )
    write_stage(root, stage, declared)
    filesystem.make_folder(root / records)
    rng, position = np.random.default_rng(0), np.arange(PROMPT - 1, PROMPT - 1 + TEXT, dtype=np.int32)
    for shard, start in enumerate(range(0, rows // TEXT, SHARD)):
        indices = range(start, min(start + SHARD, rows // TEXT))
        requests = [Request(k, f"{k:064x}", {}, [], f"prompt {k}", [1, 100 + k, *[5] * (PROMPT - 2)]) for k in indices]
        completions = [Completion(k, 0, "…", rng.integers(0, 5000, TEXT).tolist(), "stop") for k in indices]
        shared = {"shard": shard, "start": indices.start, "stop": indices.stop}
        entry = write_records(root / records / layout.table_name(shard), requests, completions)
        receipt = root / records / layout.receipt_name(shard)
        counts = count_records(len(indices), requests, completions, [])
        write_receipt(receipt, stage=records, files=[entry], counts=counts, **shared)
        writer = StatesWriter(root / stage, shard, widths, torch.float32)
        for done in completions:
            tensors = {name: torch.from_numpy(rng.standard_normal((TEXT, width), np.float32)) for name in names}
            token_ids = np.array(done.token_ids, np.int32)
            remaining = np.arange(TEXT - 1, -1, -1, dtype=np.int32)
            writer.add(StateRows(done.index, 0, position, token_ids, remaining, tensors))
        files = writer.close()
        upstream = {f"{records}/{layout.table_name(shard)}": read_receipt(receipt).files[0].sha256}
        counts = {"rows": sum(file.rows for file in files)}
        place = root / stage / layout.receipt_name(shard)
        write_receipt(place, stage=stage, files=files, upstream=upstream, counts=counts, **shared)
    return latentext.open_dataset(root)


def compare_writing(folder: Path, options: argparse.Namespace) -> None:
    """Mebibytes of states a second: the rows of a dataset, and the same rows as a notebook has them."""
    dataset = make_dataset(folder / "data", options.rows, options.sites, options.width)
    (capture,) = dataset.captures.values()
    views = [dataset.states(site) for site in capture.sites]
    states = np.concatenate([view[:] for view in views], axis=1)
    remaining, ids = (views[0].rows[name].tolist() for name in ("remaining", "token_id"))
    tokens = [{"token_id": i, "token_text": f" {i}"} for i in ids]
    single = list(states)  # One array a row, as `extract_hidden_states` gives them.
    size = round(states.nbytes / MEBIBYTE)
    piece = states.reshape(-1).view(np.uint8)[:MEBIBYTE].tobytes()

    def plain(place: Path) -> None:
        with place.open("wb", buffering=0) as file:
            for _ in range(size):
                file.write(piece)
            os.fsync(file.fileno())

    writers: dict[str, Callable[[Path], object]] = {
        "plain sequential write": plain,
        "save_dataset, a list of rows": lambda place: save_dataset(place, single, remaining, tokens),
        "save_dataset, one array": lambda place: save_dataset(place, states, remaining, tokens),
        "export npy": lambda place: export_npy(dataset, place, decode_token=str),
    }
    places = itertools.count()

    def way(name: str) -> int:
        writers[name](folder / f"written-{next(places)}")  # Kept until the end: removing files is not writing them.
        return size

    measured = measure({name: partial(way, name) for name in writers}, options.rounds)
    title = f"{size} MiB of states, {len(states):,} rows, all files synced: MiB of states a second"
    print_table(title, measured, unit="MiB/s")
    save(options.json, {title: measured})
