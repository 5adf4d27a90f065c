"""Guards of speed that need no clock: what a run asks of the disk is counted, and is the same for every shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.run.made import small_spec

from latentext.dataset import receipts
from latentext.dataset.parts import encode_header
from latentext.dataset.states import StatesWriter
from latentext.engines.transformers.engine import TransformersEngine
from latentext.request import StateRows
from latentext.run.runner import make_dataset
from latentext.spec import Spec
from latentext.storage import filesystem


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each call that changes the disk was made, of shards alone also, and the bytes written."""
    counted: Counter[str] = Counter()
    for name in ("create", "write", "sync", "sync_folder", "replace", "create_with"):
        original = getattr(filesystem, name)

        def call(*arguments: Any, _name: str = name, _original: Any = original) -> Any:
            counted[_name] += 1
            path = next(argument for argument in reversed(arguments) if isinstance(argument, Path))
            counted[f"{_name} of a shard"] += bool({"records", "states", ".leases"} & set(path.parts))
            counted["bytes"] += len(arguments[1]) if _name == "write" else 0
            return _original(*arguments)

        monkeypatch.setattr(filesystem, name, call)
    return counted


def test_a_row_of_states_is_written_once_and_nothing_else_is(tmp_path: Path, calls: Counter[str]) -> None:
    widths = {"embed": 40, "final_norm": 8}
    writer = StatesWriter(tmp_path, 0, widths, torch.bfloat16)
    for index in range(5):
        column = np.arange(7, dtype=np.int32)
        tensors = {name: torch.zeros(7, width, dtype=torch.bfloat16) for name, width in widths.items()}
        writer.add(StateRows(index, 0, column, column, column, tensors))
    (entry,) = writer.close()
    labels, states = 8 + 4 * 4, 2 * (40 + 8)
    assert calls["bytes"] == entry.size == len(encode_header(35, widths, "bfloat16")) + 35 * (labels + states)
    # Small pieces are gathered: one write, one sync, one name, whatever the number of texts and sites.
    assert [calls[name] for name in ("create", "write", "sync", "replace", "sync_folder")] == [1, 1, 1, 1, 1]


def test_large_pieces_are_written_as_they_are(tmp_path: Path, calls: Counter[str]) -> None:
    writer = StatesWriter(tmp_path, 0, {"embed": 1024}, torch.float32)
    column = np.arange(2048, dtype=np.int32)
    writer.add(StateRows(0, 0, column, column, column, {"embed": torch.zeros(2048, 1024)}))
    (entry,) = writer.close()
    assert (calls["bytes"], calls["write"]) == (entry.size, 2)  # Header and labels, then the tensor in one piece.


def test_a_shard_costs_the_same_calls_however_many_there_are(
    spec: Spec, tmp_path: Path, engine: TransformersEngine, calls: Counter[str]
) -> None:
    def cost(counts: int) -> Counter[str]:
        calls.clear()
        make_dataset(small_spec(spec.model.name, counts=counts), tmp_path / str(counts), engine=engine)
        return Counter({name: count for name, count in calls.items() if name.endswith(" of a shard")})

    few, many = cost(2), cost(6)  # Four shards, twelve shards.
    more = {name.partition(" ")[0]: (many[name] - few[name]) / 8 for name in few}
    # Records, states and a receipt for each; one lease, whose content is a write of its own.
    assert more == {"create": 4, "write": 5, "sync": 4, "replace": 4, "sync_folder": 4, "create_with": 1}


def test_a_continued_run_reads_every_receipt_once_before_it_starts(
    spec: Spec, copied: Callable[..., Path], engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, read = copied(), Counter[str]()
    original, generate = receipts.read_receipt, engine.generate

    def counted(path: Path) -> receipts.Receipt:
        read[path.relative_to(root).parts[0]] += 1
        return original(path)

    def started(*arguments: Any, **options: Any) -> Any:
        at_start.update(read)
        return generate(*arguments, **options)

    at_start: Counter[str] = Counter()
    (root / "records" / "s0000-0000" / "00003.receipt.json").unlink()
    monkeypatch.setattr(receipts, "read_receipt", counted)
    monkeypatch.setattr(engine, "generate", started)
    make_dataset(spec, root, engine=engine)
    # Three of four shards are whole. The fourth has no receipt of its records: its states are not looked at.
    assert at_start == {"records": 3, "states": 3}
