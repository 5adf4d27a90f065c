"""The rows of a small dataset, and shards of them written with the same functions as a run uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from latentext.dataset import layout
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.records import count_records, write_records
from latentext.dataset.states import StatesWriter
from latentext.request import Completion, Failure, Request, StateRows
from latentext.storage import filesystem

WIDTH = 8
SITES = ("embed", "final_norm")
WORDS = ("hello", "world", "cat")


def prompt_ids(index: int) -> list[int]:
    return [1, 10 + index, *range(20, 22 + index % 3)]


def generated_ids(index: int, sample: int) -> list[int]:
    return [100 + index, *range(200 + sample, 203 + sample + (index * 7) % 5), 2]


def make_request(index: int) -> Request:
    variables = {"word": WORDS[index % 3], "count": index // 3}
    messages = [{"role": "user", "content": f"Say é {variables['word']}"}]
    return Request(index, f"{index:064x}", variables, messages, f"<s>{index}", prompt_ids(index))


def make_completion(index: int, sample: int) -> Completion:
    ids = generated_ids(index, sample)
    return Completion(index, sample, f"text {index}.{sample}", ids, "length" if index % 5 == 4 else "stop")


def state_of(index: int, sample: int, position: np.ndarray, site: int) -> torch.Tensor:
    """States that tell where they come from."""
    base = torch.from_numpy(position.astype(np.float32))[:, None] + torch.arange(WIDTH) * 16
    return base + index / 4 + sample * 2 + site * 64


def make_states(index: int, sample: int, dtype: torch.dtype, pools: tuple[str, ...] = ("none",)) -> StateRows:
    prompt, generated = prompt_ids(index), generated_ids(index, sample)
    steps = np.arange(len(generated)) if pools == ("none",) else np.array([len(generated) - 1])
    position = (len(prompt) - 1 + steps).astype(np.int32)
    token_id = np.array(generated, np.int32)[steps]
    remaining = (len(generated) - 1 - steps).astype(np.int32)
    tensors = {
        site if pool == "none" else f"{site}:{pool}": state_of(index, sample, position, k).to(dtype)
        for k, site in enumerate(SITES)
        for pool in pools
    }
    return StateRows(index, sample, position, token_id, remaining, tensors)


def write_records_shard(root: Path, shard: int, indices: range, samples: range, failed: Mapping[int, str]) -> None:
    stage = layout.records_folder(samples)
    filesystem.make_folder(root / stage)
    requests = [make_request(i) for i in indices]
    completions = [make_completion(i, s) for i in indices if i not in failed for s in samples]
    failures = [Failure(i, s, "prompt-too-long", failed[i]) for i in indices if i in failed for s in samples]
    entry = write_records(root / stage / layout.table_name(shard), requests, completions)
    write_receipt(
        root / stage / layout.receipt_name(shard),
        stage=stage,
        shard=shard,
        start=indices.start,
        stop=indices.stop,
        files=[entry],
        how={"batch": 4},
        counts=count_records(len(indices) * len(samples), requests, completions, failures),
        failures=failures,
    )


def write_states_shard(
    root: Path,
    shard: int,
    indices: range,
    samples: range,
    failed: Mapping[int, str],
    dtype: torch.dtype,
    pools: tuple[str, ...],
    part_bytes: int,
    capture: str,
) -> None:
    stage, records = layout.states_folder(capture), layout.records_folder(samples)
    first = make_states(0, 0, dtype, pools)
    writer = StatesWriter(root / stage, shard, dict.fromkeys(first.tensors, WIDTH), dtype, part_bytes)
    # Texts finish in another order than they were asked for.
    for i in [*indices][::2] + [*indices][1::2]:
        for s in samples:
            if i not in failed:
                writer.add(make_states(i, s, dtype, pools))
    files = writer.close()
    name = layout.table_name(shard)
    upstream = {f"{records}/{name}": read_receipt(root / records / layout.receipt_name(shard)).files[0].sha256}
    write_receipt(
        root / stage / layout.receipt_name(shard),
        stage=stage,
        shard=shard,
        start=indices.start,
        stop=indices.stop,
        files=files,
        upstream=upstream,
        counts={"rows": sum(file.rows for file in files)},
    )
