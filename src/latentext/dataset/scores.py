"""Scores: the raw numbers that a reward gives to texts, one row per text, as Parquet beside the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from latentext.dataset.receipts import FileEntry
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


def read_scores(paths: Iterable[Path]) -> pa.Table:
    """Read scores files one after the other into one table.

    Raises:
        DatasetError: a file is missing, damaged, or has other columns than the first; it is named.
    """
    tables: list[pa.Table] = []
    for path in paths:
        table = read_table(path)
        if table.column_names[:2] != ["index", "sample"] or (tables and table.schema != tables[0].schema):
            raise DatasetError("not a scores file, or one of another reward", where=str(path))
        tables.append(table)
    return pa.concat_tables(tables) if tables else pa.table({"index": pa.array([], pa.int64())})
