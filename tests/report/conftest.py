"""Datasets to draw: small ones with states that are known, written as a run writes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.dataset.conftest import make_dataset as make_dataset
from tests.dataset.made import make_completion, make_request

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.records import count_records, write_records
from latentext.request import Completion

Change = Callable[[Completion], Completion]
Copy = Callable[..., Dataset]


def rewrite_records(root: Path, shard: int, change: Change) -> None:
    """Write one records file again, each text changed, with a receipt that fits: as another run would have made it."""
    folder = root / layout.records_folder(range(1))
    receipt = read_receipt(folder / layout.receipt_name(shard))
    indices = range(receipt.start, receipt.stop)
    requests, completions = [make_request(i) for i in indices], [change(make_completion(i, 0)) for i in indices]
    (folder / layout.receipt_name(shard)).unlink()
    entry = write_records(folder / layout.table_name(shard), requests, completions)
    write_receipt(
        folder / layout.receipt_name(shard),
        stage=layout.records_folder(range(1)),
        shard=shard,
        start=indices.start,
        stop=indices.stop,
        files=[entry],
        how={"batch": 4},
        counts=count_records(len(indices), requests, completions, []),
        failures=[],
    )


@pytest.fixture
def with_spec(tmp_path: Path) -> Copy:
    """Copy a dataset, with fields of its spec changed."""

    def copy(dataset: Dataset, **fields: object) -> Dataset:
        root = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(dataset.directory, root)
        spec = yaml.safe_load((root / layout.SPEC).read_text()) | json.loads(json.dumps(fields))
        (root / layout.SPEC).write_text(yaml.safe_dump(spec))
        return open_dataset(root)

    return copy


def longer(completion: Completion) -> Completion:
    """The same text with three more tokens."""
    return replace(completion, token_ids=[*completion.token_ids[:-1], 300, 300, 300, completion.token_ids[-1]])
