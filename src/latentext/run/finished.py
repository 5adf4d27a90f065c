"""Whether a shard of a stage is done: its receipt is there, can be believed, and is of the same requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.receipts import Receipt, committed, write_receipt
from latentext.plan import Shard


def finished(root: Path, stage: str, shard: Shard, known: Receipt | None = None) -> Receipt | None:
    """The receipt of a finished shard, or None when the shard must be computed (again).

    Args:
        known: the receipt of the stage that this one was computed from, where it has just been read.
    """
    receipt = committed(root, stage, shard.number, known)
    return receipt if receipt is not None and (receipt.start, receipt.stop) == (shard.start, shard.stop) else None


def commit(root: Path, stage: str, shard: Shard, **facts: Any) -> Receipt:
    """Make a shard a finished one: write its receipt, after all its files; `facts` as for `write_receipt`."""
    path = root / stage / layout.receipt_name(shard.number)
    return write_receipt(path, stage=stage, shard=shard.number, start=shard.start, stop=shard.stop, **facts)
