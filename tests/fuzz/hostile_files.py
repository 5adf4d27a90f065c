"""A small dataset of which one file was exchanged by somebody who knows the format: its hashes fit where they can.

The first byte says which file, the second how careful its maker was; the rest is the content.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.fuzz.small_dataset import RECORDS, SCORES, STATES, make_small_dataset

from latentext.dataset import layout
from latentext.dataset.checks import kept_records
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.sealed import canonical_json, seal
from latentext.dataset.verify import verify_files
from latentext.dataset.views import derive_views
from latentext.errors import LatentextError
from latentext.export.tables import export_table

FILES = (
    layout.SPEC,
    layout.PROVENANCE,
    layout.METADATA,
    layout.FAILURES,
    f"{RECORDS}/00000.receipt.json",
    f"{SCORES}/00000.receipt.json",
    f"{STATES}/00000.receipt.json",
    f"{SCORES}/stage.json",
    f"{STATES}/stage.json",
    f"{RECORDS}/00000.parquet",
    f"{SCORES}/00000.parquet",
    f"{STATES}/00000-000.safetensors",
)
SEALED, KEEPS_TIME = 1, 2
"""How careful: hashes are made to fit (of a data file: those in its receipt); the file's time stays what it was."""


def read_with(data: bytes, folder: Path) -> None:
    """Read everything in the dataset with the exchanged file; only errors of our own may come out."""
    if len(data) < 2:
        return
    root = _ground(folder)
    name, care = FILES[data[0] % len(FILES)], data[1]
    receipt = _receipt_of(name)
    before = {path: (root / path).read_bytes() for path in {name, receipt} - {None}}
    time = (root / name).stat().st_mtime_ns
    try:
        _exchange(root, name, data[2:], care)
        if care & KEEPS_TIME:
            os.utime(root / name, ns=(time, time))
        for look in _looks(root):
            with suppress(LatentextError):
                look()
    finally:
        for path, content in before.items():
            (root / path).write_bytes(content)
            os.utime(root / path, ns=(time, time))


def _ground(folder: Path) -> Path:
    """The dataset, made once for many calls."""
    root = folder.parent / "ground"
    if not (root / layout.METADATA).exists():
        shutil.rmtree(root, ignore_errors=True)
        make_small_dataset(root)
        assert verify_files(root) == []
    return root


def _receipt_of(name: str) -> str | None:
    stage, _, file_name = name.rpartition("/")
    return f"{stage}/00000.receipt.json" if layout.is_data_file(file_name) else None


def _exchange(root: Path, name: str, content: bytes, care: int) -> None:
    receipt = _receipt_of(name)
    if care & SEALED and receipt is None:
        with suppress(ValueError, RecursionError, TypeError):
            fields = json.loads(content)
            content = canonical_json({**fields, "sha256": seal(fields)})
    (root / name).write_bytes(content)
    if care & SEALED and receipt is not None:
        fields = json.loads((root / receipt).read_bytes())
        fields["files"][0] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        (root / receipt).write_bytes(canonical_json({**fields, "sha256": seal(fields)}))


def _looks(root: Path) -> Iterator[Callable[[], Any]]:
    yield lambda: [str(finding) for finding in verify_files(root)]
    if importlib.util.find_spec("torch") is not None:  # Not where atheris runs.
        yield lambda: _status(root)
    try:
        dataset = open_dataset(root)
    except LatentextError:
        return
    yield lambda: dataset.plan_count
    yield dataset.records
    yield dataset.split
    yield lambda: kept_records(dataset)
    yield lambda: [dataset.scores(name) for name in dataset.score_sets]
    yield lambda: export_table(dataset, root.parent / "table.jsonl")
    yield lambda: [list(content) for content in derive_views(root, dataset.spec, requests=5).values()]
    yield lambda: _states(dataset)


def _status(root: Path) -> str:
    from latentext.run.status import status

    return str(status(root))


def _states(dataset: Dataset) -> None:
    for site in {site for stage in dataset.captures.values() for site in stage.sites}:
        view = dataset.states(site)
        if len(view) < 10_000 and view.width < 10_000:
            _ = view[:], view.rows, view.text(0), dataset.record_numbers(view), view.align_at().rows
