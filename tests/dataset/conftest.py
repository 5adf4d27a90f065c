"""A small dataset directory, written with the same functions as a run writes it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import yaml
from tests.dataset.made import SITES, WIDTH, WORDS, make_states, write_records_shard, write_states_shard

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.stages import StatesStage, write_stage
from latentext.dataset.states import DTYPE_NAME

Maker = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path) -> Maker:
    """Make a dataset of `count` requests in `shard_size` shards, with states; each call makes another directory."""
    made = 0

    def make(
        count: int = 10,
        *,
        shard_size: int = 4,
        samples: tuple[range, ...] = (range(1),),
        dtype: torch.dtype = torch.bfloat16,
        pools: tuple[str, ...] = ("none",),
        part_bytes: int = 2**20,
        failed: Mapping[int, str] | None = None,
        states: bool = True,
    ) -> Dataset:
        nonlocal made
        made += 1
        root = tmp_path / f"dataset-{made}"
        root.mkdir()
        failed = failed or {}
        spec = {
            "name": "same-prompt",
            "description": "Words, repeated.",
            "prompts": {"template": "Say {count} {word}", "grid": {"count": {"range": [0, 4]}, "word": list(WORDS)}},
            "states": {"sites": list(SITES)},
        }
        (root / layout.SPEC).write_text(yaml.safe_dump(spec))
        (root / layout.PROVENANCE).write_text('{"format_version":1,"model":{"name":"tiny"}}')
        for one_range in samples:
            capture = f"first-{one_range.start}"
            if states:
                declared = StatesStage(
                    samples=(one_range.start, one_range.stop),
                    sites=SITES,
                    positions="generated",
                    pool=pools,
                    dtype=DTYPE_NAME[dtype],
                    how="inflight",
                    widths=dict.fromkeys(make_states(0, 0, dtype, pools).tensors, WIDTH),
                    num_layers=5,
                    huggingface_indices=(0, 4),
                )
                write_stage(root, layout.states_folder(capture), declared)
            for shard, start in enumerate(range(0, count, shard_size)):
                indices = range(start, min(start + shard_size, count))
                write_records_shard(root, shard, indices, one_range, failed)
                if states:
                    write_states_shard(root, shard, indices, one_range, failed, dtype, pools, part_bytes, capture)
        return open_dataset(root)

    return make
