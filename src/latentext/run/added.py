"""What a command added to a dataset, stage by stage: the counts of a dataset are of all that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from latentext.dataset import layout
from latentext.dataset.receipts import Receipt, check_shard
from latentext.plan import Shard
from latentext.run.under_way import Advance
from latentext.run.work import Work


@dataclass(frozen=True)
class AddedStage:
    """Texts and rows of a stage that one run finished.

    Attributes:
        stage: such as ``states/replay-0`` or ``scores/length-1a2b3c4d``.
        texts: that have states or a score; of a stage of texts those that were written.
        rows: of states.
        about: what metadata.json says of the stage; empty for texts.
    """

    stage: str
    texts: int
    rows: int
    about: Mapping[str, Any]


@dataclass
class Tallies:
    """What the stages of a run gained, by their names. Shards may be computed side by side."""

    root: Path
    _gained: dict[str, tuple[int, int]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def noting(self, work: Work) -> Work:
        """The stage, whose shards are noted as they are computed."""

        def compute(shard: Shard, advance: Advance) -> Receipt:
            before = _held(self.root, work.name, shard)  # Where failures are tried again, most of it was there.
            receipt = work.compute(shard, advance)
            now = _texts_and_rows(receipt)
            with self._lock:
                texts, rows = self._gained.get(work.name, (0, 0))
                self._gained[work.name] = texts + now[0] - before[0], rows + now[1] - before[1]
            return receipt

        return replace(work, compute=compute)

    def added(self, metadata: Mapping[str, Any]) -> tuple[AddedStage, ...]:
        """The stages that gained something, in the order of the run."""
        return tuple(AddedStage(stage, *gained, _about(metadata, stage)) for stage, gained in self._gained.items())


def _held(root: Path, stage: str, shard: Shard) -> tuple[int, int]:
    if not (root / stage / layout.receipt_name(shard.number)).is_file():
        return 0, 0
    found = check_shard(root, stage, shard.number)
    return _texts_and_rows(found) if isinstance(found, Receipt) else (0, 0)


def _texts_and_rows(receipt: Receipt) -> tuple[int, int]:
    return receipt.counts.get("texts", receipt.counts.get("accepted", 0)), receipt.rows


def _about(metadata: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    kind, _, name = stage.partition("/")
    found = metadata.get(kind, {})
    return found.get(name, {}) if isinstance(found, Mapping) else {}
