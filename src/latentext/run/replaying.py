"""The stage that reads the states of texts that exist: one shard of records becomes states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from latentext.dataset import filesystem, layout
from latentext.dataset.receipts import Receipt, read_receipt, write_receipt
from latentext.dataset.records import read_records
from latentext.dataset.restoring import completions_of, requests_of
from latentext.dataset.stages import StatesStage
from latentext.dataset.states import StatesWriter
from latentext.plan import Shard
from latentext.run.captures import states_spec
from latentext.run.finished import finished
from latentext.run.generating import Advance
from latentext.states.layout import ModelLayout
from latentext.states.replay import WrittenText, replay


@dataclass(frozen=True)
class Replay:
    """The stage: which records it reads and which capture it writes."""

    root: Path
    records_stage: str
    stage: str
    capture: StatesStage

    def done(self, shard: Shard) -> Receipt | None:
        """The capture's receipt, if it is committed and made from the present records."""
        return finished(self.root, self.stage, shard)

    def ready(self, shard: Shard) -> bool:
        """Whether the texts are committed."""
        return finished(self.root, self.records_stage, shard) is not None


def written_texts(root: Path, records_stage: str, shard_number: int) -> list[WrittenText]:
    """The texts of a shard as replay wants them."""
    table = read_records([root / records_stage / layout.table_name(shard_number)])
    return [
        WrittenText(c.index, c.sample, r.prompt_token_ids, c.token_ids, c.entropies)
        for r, c in zip(requests_of(table), completions_of(table), strict=True)
    ]


def replay_shard(stage: Replay, shard: Shard, model_layout: ModelLayout, advance: Advance) -> Receipt:
    """Capture the states of one shard's texts, and commit them."""
    records = read_receipt(stage.root / stage.records_stage / layout.receipt_name(shard.number))
    texts = written_texts(stage.root, stage.records_stage, shard.number)
    filesystem.make_folder(stage.root / stage.stage)
    dtype = getattr(torch, stage.capture.dtype)
    writer = StatesWriter(stage.root / stage.stage, shard.number, stage.capture.widths, dtype)
    try:
        for rows in replay(model_layout, texts, states_spec(stage.capture), stage.capture.sites, dtype=dtype):
            writer.add(rows)
            advance(1, 0)
        files = writer.close()
    except BaseException:
        writer.abort()
        raise
    return write_receipt(
        stage.root / stage.stage / layout.receipt_name(shard.number),
        stage=stage.stage,
        shard=shard.number,
        start=shard.start,
        stop=shard.stop,
        files=files,
        upstream={f"{stage.records_stage}/{file.name}": file.sha256 for file in records.files},
        how={"engine": "replay"},
        counts={"texts": len(texts)},
    )
