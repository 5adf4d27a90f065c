"""A dataset of five texts, two shards and one capture, written without torch: ground for hostile files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from latentext.dataset import layout
from latentext.dataset.parts import ROW_COLUMNS, encode_header
from latentext.dataset.receipts import FileEntry, write_receipt
from latentext.dataset.records import count_records, write_records
from latentext.dataset.scores import write_scores
from latentext.dataset.stages import ScoresStage, StatesStage, write_stage
from latentext.dataset.views import write_views
from latentext.request import Completion, Failure, Request
from latentext.spec.files import load_spec
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes

RECORDS, SCORES, STATES = "records/s0000-0000", "scores/length-0123abcd", "states/first"
_WIDTH = 2
_SPEC = (
    b"name: small\nprompts: {list: [one, two, three, four, five]}\nstates: {sites: [final_norm]}\nrewards: [length]\n"
)
_PROVENANCE = b'{"format_version":1,"model":{"name":"tiny"}}\n'


def make_small_dataset(root: Path) -> None:
    """Write it; `verify_files` finds nothing in it."""
    filesystem.make_folder(root)
    write_bytes(root / layout.SPEC, _SPEC)
    write_bytes(root / layout.PROVENANCE, _PROVENANCE)
    states = StatesStage(
        samples=(0, 1),
        sites=("final_norm",),
        positions="generated",
        pool=("none",),
        dtype="float32",
        how="inflight",
        widths={"final_norm": _WIDTH},
        num_layers=3,
        huggingface_indices=(2,),
    )
    write_stage(root, STATES, states)
    write_stage(root, SCORES, ScoresStage(reward="length", samples=(0, 1), columns=("score",)))
    for shard, indices in enumerate((range(3), range(3, 5))):
        records = _write_records(root, shard, indices)
        _write_scores(root, shard, indices, records)
        _write_states(root, shard, indices, records)
    write_views(root, load_spec(root / layout.SPEC), requests=5)


def _ids(index: int) -> tuple[list[int], list[int]]:
    return [1, 10 + index], [20 + index, 30, 2]


def _receipt(root: Path, stage: str, shard: int) -> Path:
    return root / stage / layout.receipt_name(shard)


def _write_records(root: Path, shard: int, indices: range) -> FileEntry:
    filesystem.make_folder(root / RECORDS)
    requests = [
        Request(i, f"{i:032x}", {}, [{"role": "user", "content": f"text {i}"}], f"text {i}", _ids(i)[0])
        for i in indices
    ]
    failed = [Failure(4, 0, "bad-row", "it is empty")] if 4 in indices else []
    texts = [Completion(i, 0, f"answer {i}", _ids(i)[1], "stop") for i in indices if i != 4]
    entry = write_records(root / RECORDS / layout.table_name(shard), requests, texts)
    counts = count_records(len(indices), requests, texts, failed)
    write_receipt(
        _receipt(root, RECORDS, shard),
        stage=RECORDS,
        shard=shard,
        start=indices.start,
        stop=indices.stop,
        files=[entry],
        counts=counts,
        failures=failed,
    )
    return entry


def _write_scores(root: Path, shard: int, indices: range, records: FileEntry) -> None:
    texts = [i for i in indices if i != 4]
    path = root / SCORES / layout.table_name(shard)
    entry = write_scores(path, texts, [0] * len(texts), {"score": [float(i) for i in texts]})
    _commit(root, SCORES, shard, indices, entry, records, {"scored": len(texts)})


def _write_states(root: Path, shard: int, indices: range, records: FileEntry) -> None:
    rows = []
    for i in indices:
        if i != 4:
            prompt, generated = _ids(i)
            rows += [(i, 0, len(prompt) - 1 + s, t, len(generated) - 1 - s) for s, t in enumerate(generated)]
    table = np.array(rows)
    data = encode_header(len(rows), {"final_norm": _WIDTH}, "float32")
    for column, kind in enumerate(ROW_COLUMNS.values()):
        data += table[:, column].astype("<i8" if kind == "I64" else "<i4").tobytes()
    data += np.arange(len(rows) * _WIDTH, dtype="<f4").tobytes()
    name = layout.part_name(shard, 0)
    write_bytes(root / STATES / name, data)
    entry = FileEntry(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data), rows=len(rows))
    _commit(root, STATES, shard, indices, entry, records, {"rows": len(rows)})


def _commit(
    root: Path, stage: str, shard: int, indices: range, entry: FileEntry, records: FileEntry, counts: dict[str, int]
) -> None:
    write_receipt(
        _receipt(root, stage, shard),
        stage=stage,
        shard=shard,
        start=indices.start,
        stop=indices.stop,
        files=[entry],
        upstream={f"{RECORDS}/{records.name}": records.sha256},
        counts=counts,
    )
