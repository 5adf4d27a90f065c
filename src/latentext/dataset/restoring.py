"""Committed rows as the values they were written from, for work that goes on from them: retries, replays,
verification."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from latentext.dataset import layout
from latentext.dataset.parts import open_part
from latentext.dataset.receipts import read_receipt
from latentext.request import Completion, Request, StateRows, Usage, Verification


def completions_of(records: pa.Table) -> list[Completion]:
    """The completions in a records table, in its order."""
    columns = [
        "index",
        "sample",
        "text",
        "token_ids",
        "finish_reason",
        "logprobs",
        "entropies",
        "verification",
        "usage",
    ]
    rows = records.select(columns).to_pylist()
    return [Completion(**{**row, "verification": _verification(row["verification"]), **_usage(row)}) for row in rows]


def requests_of(records: pa.Table) -> list[Request]:
    """The requests in a records table, one for each row."""
    columns = ["index", "key", "variables", "messages", "prompt", "prompt_token_ids"]
    rows = records.select(columns).to_pylist()
    parsed = (
        {**row, "variables": json.loads(row["variables"]), "messages": json.loads(row["messages"])} for row in rows
    )
    return [Request(**row) for row in parsed]


def states_of(root: Path, stage: str, shard_number: int, tensors: Sequence[str]) -> Iterator[StateRows]:
    """The states of every text of a shard, in the order in which they are stored; `tensors` names what is wanted.

    Raises:
        DatasetError: the receipt or a part cannot be read.
    """
    receipt = read_receipt(root / stage / layout.receipt_name(shard_number))
    for file in receipt.files:
        part = open_part(root / stage / file.name)
        rows = part.read_rows()
        maps = {name: part.map(name) for name in tensors}
        kinds = {name: part.tensors[name].kind for name in tensors}
        # Rows of one text stand together, so a text ends where (index, sample) changes.
        changes = np.flatnonzero((np.diff(rows["index"]) != 0) | (np.diff(rows["sample"]) != 0)) + 1
        for start, stop in zip([0, *changes], [*changes, len(rows)], strict=True):
            if start == stop:
                continue
            text = rows[start:stop]
            yield StateRows(
                int(text["index"][0]),
                int(text["sample"][0]),
                text["position"],
                text["token_id"],
                text["remaining"],
                {name: _tensor(maps[name][start:stop], kinds[name]) for name in tensors},
            )


def _usage(row: dict[str, Any]) -> dict[str, Any]:
    """A completion's usage; null counts are those of a server that gave none."""
    if None in row["usage"].values():
        return {"usage": None, "served": True}
    return {"usage": Usage(**row["usage"])}


def _verification(counts: dict[str, int] | None) -> Verification | None:
    return None if counts is None else Verification(**counts)


def _tensor(rows: np.ndarray, kind: str) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(rows))
    return tensor.view(torch.bfloat16) if kind == "BF16" else tensor
