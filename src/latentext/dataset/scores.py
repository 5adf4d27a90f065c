"""Scores: the raw numbers that a reward gives to texts, one row per text, as Parquet beside the records.

A folder under ``scores/`` was made at one time for some samples. Folders of one reward with the same settings belong
together (samples added later have their own); the same reward with other settings is another set of scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from latentext.dataset.receipts import FileEntry
from latentext.dataset.sealed import canonical_json
from latentext.dataset.stages import ScoresStage
from latentext.dataset.tables import read_table, write_table
from latentext.errors import DatasetError


def write_scores(
    path: Path, index: Sequence[int], sample: Sequence[int], scores: Mapping[str, Sequence[float | None]]
) -> FileEntry:
    """Write a shard's scores, in the order of (index, sample): columns `index`, `sample` and one per number (float64).

    None stands for a text that has no score; its reason belongs into the receipt's failures.

    Raises:
        DatasetError: the columns differ in length, or a text stands there twice.
    """
    lengths = {len(index), len(sample), *(len(values) for values in scores.values())}
    if len(lengths) != 1:
        raise DatasetError(f"score columns of different lengths: {sorted(lengths)}", where=str(path))
    if len(set(zip(index, sample, strict=True))) != len(index):
        raise DatasetError("a text is scored twice", where=str(path))
    columns = {"index": pa.array(index, pa.int64()), "sample": pa.array(sample, pa.int32())}
    columns |= {name: pa.array(values, pa.float64()) for name, values in scores.items()}
    order = np.lexsort((np.asarray(sample, np.int64), np.asarray(index, np.int64)))
    return write_table(path, pa.table(columns).take(pa.array(order)))


def read_scores(paths: Iterable[Path], columns: Sequence[str]) -> pa.Table:
    """Read scores files one after the other into one table: `index`, `sample` and these columns.

    Raises:
        DatasetError: a file is missing, damaged, or has not these columns; it is named.
    """
    schema = pa.schema([("index", pa.int64()), ("sample", pa.int32()), *((name, pa.float64()) for name in columns)])
    tables = []
    for path in paths:
        table = read_table(path)
        if table.schema != schema:
            raise DatasetError(f"not the scores {', '.join(columns)}", where=str(path))
        tables.append(table)
    return pa.concat_tables(tables) if tables else schema.empty_table()


def score_sets(folders: Mapping[str, ScoresStage]) -> dict[str, list[str]]:
    """Names of folders under ``scores/`` that belong together, by the reward's name.

    Where a reward was scored in several ways, each way is called by the name of its first folder instead. Scores of
    raw text that version 0.1.0 made by a model with a chat template leave the reward's name to those of the template.
    """
    ways: dict[_Way, list[str]] = {}
    for name, stage in folders.items():
        ways.setdefault(_way(stage, stage.settings), []).append(name)
    replaced = {
        _way(stage, {**stage.settings, "input": "full_text"})
        for stage in folders.values()
        if stage.settings.get("input") == "chat"
    }
    rewards = [way[0] for way in ways if way not in replaced]
    alone = {way for way in ways if way not in replaced and rewards.count(way[0]) == 1}
    return {way[0] if way in alone else names[0]: names for way, names in ways.items()}


_Way = tuple[str, tuple[str, ...], bytes]


def _way(stage: ScoresStage, settings: Mapping[str, Any]) -> _Way:
    return stage.reward, stage.columns, canonical_json(dict(settings))
