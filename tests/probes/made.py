"""Datasets whose texts have chosen lengths and whose states are a chosen function of them, written as a run writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.records import count_records, write_records
from latentext.dataset.stages import StatesStage, write_stage
from latentext.dataset.states import StatesWriter
from latentext.dataset.targets import Target, remaining_tokens
from latentext.probes.rows import ProbeRows
from latentext.request import Completion, Request, StateRows
from latentext.storage import filesystem

WIDTH = 6
SITES = ("embed", "resid_post.0", "final_norm")
SHARD = 16


@dataclass(frozen=True)
class MadeText:
    """One text: what was asked, how long it became, and whether it ended by itself."""

    count: int
    word: str
    length: int
    finish_reason: str = "stop"


States = Callable[[str, MadeText, np.ndarray], np.ndarray]
"""(site, text, steps [T]) → [T, WIDTH]."""


def knowing_states(site: str, text: MadeText, steps: np.ndarray) -> np.ndarray:
    """Noise; two components of ``final_norm`` hold the remaining tokens, one of ``resid_post.0`` the step."""
    rng = np.random.default_rng([text.count, text.length, len(site)])
    states = rng.normal(size=(len(steps), WIDTH))
    if site == "final_norm":
        states[:, 0] += 100 + 3.0 * (text.length - 1 - steps)
        states[:, 3] -= 0.2 * (text.length - 1 - steps)
    if site == "resid_post.0":
        states[:, 1] += steps
    return states


def repeating_texts(count: int = 60, seed: int = 0) -> list[MadeText]:
    """Texts that are as long as was asked, give or take two tokens."""
    rng = np.random.default_rng(seed)
    asked = rng.integers(4, 30, count)
    words = [("cat", "dog", "sun")[k % 3] for k in range(count)]
    lengths = np.maximum(2, asked + rng.integers(-2, 3, count))
    return [MadeText(int(a), word, int(length)) for a, word, length in zip(asked, words, lengths, strict=True)]


def write_dataset(
    root: Path,
    texts: Sequence[MadeText],
    states: States = knowing_states,
    sites: Sequence[str] = SITES,
    identity: str = "made",
) -> Dataset:
    """A dataset directory with one capture of all generated rows."""
    root.mkdir(parents=True)
    spec = {
        "name": "made",
        "prompts": {"template": "Say {count} {word}", "grid": {"count": [1], "word": ["cat"]}},
        "states": {"sites": list(sites)},
    }
    (root / layout.SPEC).write_text(yaml.safe_dump(spec))
    (root / layout.PROVENANCE).write_text(json.dumps({"format_version": 1, "identity": {"model": identity}}))
    stage = layout.states_folder("made")
    declared = StatesStage(
        samples=(0, 1),
        sites=tuple(sites),
        positions="generated",
        pool=("none",),
        dtype="float32",
        how="inflight",
        widths=dict.fromkeys(sites, WIDTH),
        num_layers=3,
        huggingface_indices=tuple(range(len(sites))),
    )
    write_stage(root, stage, declared)
    for shard, start in enumerate(range(0, len(texts), SHARD)):
        _write_shard(root, stage, shard, range(start, min(start + SHARD, len(texts))), texts, states, sites)
    return open_dataset(root)


def _write_shard(
    root: Path,
    stage: str,
    shard: int,
    indices: range,
    texts: Sequence[MadeText],
    states: States,
    sites: Sequence[str],
) -> None:
    records = layout.records_folder(range(1))
    filesystem.make_folder(root / records)
    requests = [_request(index, texts[index]) for index in indices]
    completions = [
        Completion(index, 0, "…", [7] * texts[index].length, texts[index].finish_reason) for index in indices
    ]
    entry = write_records(root / records / layout.table_name(shard), requests, completions)
    shared = {"shard": shard, "start": indices.start, "stop": indices.stop}
    write_receipt(
        root / records / layout.receipt_name(shard),
        stage=records,
        files=[entry],
        counts=count_records(len(indices), requests, completions, []),
        **shared,
    )
    writer = StatesWriter(root / stage, shard, dict.fromkeys(sites, WIDTH), torch.float32)
    for request in requests:
        writer.add(_states(request, texts[request.index], states, sites))
    files = writer.close()
    sha256 = read_receipt(root / records / layout.receipt_name(shard)).files[0].sha256
    upstream = {f"{records}/{layout.table_name(shard)}": sha256}
    counts = {"rows": sum(file.rows for file in files)}
    write_receipt(
        root / stage / layout.receipt_name(shard), stage=stage, files=files, upstream=upstream, counts=counts, **shared
    )


def _request(index: int, text: MadeText) -> Request:
    prompt_ids = [1, 100 + index, *[5] * (index % 4)]
    return Request(index, f"{index:064x}", {"count": text.count, "word": text.word}, [], "…", prompt_ids)


def _states(request: Request, text: MadeText, states: States, sites: Sequence[str]) -> StateRows:
    steps = np.arange(text.length)
    position = (len(request.prompt_token_ids) - 1 + steps).astype(np.int32)
    tensors = {site: torch.from_numpy(states(site, text, steps).astype(np.float32)) for site in sites}
    remaining = (text.length - 1 - steps).astype(np.int32)
    return StateRows(request.index, 0, position, np.full(text.length, 7, np.int32), remaining, tensors)


def made_rows(steps: Sequence[int], target: Target = remaining_tokens, part: Sequence[int] | None = None) -> ProbeRows:
    """Rows of texts of these lengths that stand one after the other in their states."""
    total = np.asarray(steps, np.int64)
    return ProbeRows(
        record=np.arange(len(total)),
        view_start=np.cumsum(total) - total,
        steps=total,
        prompt_length=np.ones_like(total),
        total=total,
        asked=None,
        part=np.asarray(part if part is not None else np.zeros(len(total)), np.int8),
        target=target,
    )
