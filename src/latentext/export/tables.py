"""Export of records, with their scores, to one table: JSON lines for people and scripts, Parquet for analysis.

One row a text, in the order of (index, sample); shard by shard, so that the size of the dataset does not matter.
In JSON lines variables and messages are objects; in Parquet they are JSON text, as in the dataset.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from latentext.dataset.checks import kept_records
from latentext.dataset.outputs import OutputKind, begins, has_columns, output_file
from latentext.dataset.reader import Dataset
from latentext.dataset.records import SCHEMA
from latentext.dataset.tables import open_writer
from latentext.errors import DatasetError, SpecError
from latentext.phases import phase
from latentext.spec import Keep, SplitSpec

_LINES = (".jsonl", ".ndjson")
_PARQUET = ".parquet"
_FIRST = SCHEMA.names[:3]
KINDS = {
    **dict.fromkeys(_LINES, OutputKind("exported records", begins(r'\{"index": \d+, "key": "[^"]*", "sample": '))),
    _PARQUET: OutputKind("exported records", has_columns(_FIRST)),
}
"""By the ending of the file."""


def export_table(
    dataset: Dataset,
    output: str | Path,
    *,
    split: str | None = None,
    by: SplitSpec | None = None,
    keep: Keep = "all",
    overwrite: bool = False,
) -> int:
    """Write records and their scores to `output` and return the number of rows; its ending decides the format.

    A score column is called ``<reward>.<column>``; a text without a score has null there.

    Args:
        dataset: whose records are exported.
        output: ends in .jsonl, .ndjson or .parquet.
        split: only the texts of this split (`train`, `val` or `test`).
        by: how texts are divided, where it is not the run's own split.
        keep: only the texts that the run's check accepted, or found exact.
        overwrite: replace a file of exported records when the new one is complete.

    Raises:
        SpecError: the ending is none of these, or the file exists already.
        DatasetError: the dataset has no texts, a file of it is damaged, there is no such split, or the output lies in a
            dataset or is a file of something else.
    """
    path = Path(output)
    if path.suffix not in KINDS:
        raise SpecError("cannot tell the format from the name", where=str(path), remedy="end it in .jsonl or .parquet")
    dataset.refuse_without_texts()
    rows = 0
    with phase("writing texts") as writing, output_file(path, KINDS[path.suffix], overwrite=overwrite) as file:
        tables = _tables(dataset, _wanted(dataset, split, by, keep))
        if path.suffix in _LINES:
            for table in tables:
                for row in table.to_pylist():
                    file.write(_line(row))
                rows += table.num_rows
                writing.reached(rows)
        else:
            first = next(tables)
            with open_writer(file, first.schema) as writer:
                for table in (first, *tables):
                    writer.write_table(table.cast(writer.schema))
                    rows += table.num_rows
                    writing.reached(rows)
    return rows


def _wanted(dataset: Dataset, split: str | None, by: SplitSpec | None, keep: Keep) -> npt.NDArray[np.int64] | None:
    """Numbers of the records to export, ascending; None for all."""
    if split is None:
        return None if keep == "all" else np.flatnonzero(kept_records(dataset, keep))
    rows = dataset.split(by)
    if split not in rows:
        raise DatasetError(f"no split {split!r}", remedy=f"splits are: {', '.join(rows)}")
    return rows[split] if keep == "all" else rows[split][kept_records(dataset, keep)[rows[split]]]


def _tables(dataset: Dataset, wanted: npt.NDArray[np.int64] | None) -> Iterator[pa.Table]:
    """Shard after shard with its scores; an empty one first, so that there are columns even without rows."""
    begin = 0
    for number in (None, *dataset.shard_numbers):
        table = SCHEMA.empty_table() if number is None else dataset.shard_records(number)
        rows = table.num_rows
        for name, folders in dataset.score_sets.items():
            scores = None if number is None else dataset.shard_scores(name, number)
            for column in dataset.rewards[folders[0]].columns:
                table = table.append_column(f"{name}.{column}", _aligned(table, scores, column))
        if wanted is not None:
            table = table.take(pa.array(wanted[(wanted >= begin) & (wanted < begin + rows)] - begin))
        yield table
        begin += rows


def _aligned(records: pa.Table, scores: pa.Table | None, column: str) -> pa.Array:
    """A column of scores in the order of the records, null where a text has none."""
    if scores is None:
        return pa.array([], pa.float64())
    places = zip(scores["index"].to_pylist(), scores["sample"].to_pylist(), strict=True)
    score_of = dict(zip(places, scores[column].to_pylist(), strict=True))
    texts = zip(records["index"].to_pylist(), records["sample"].to_pylist(), strict=True)
    return pa.array([score_of.get(text) for text in texts], pa.float64())


def _line(row: dict[str, Any]) -> bytes:
    """One JSON line; numbers that JSON does not have (infinite, not a number) become null."""
    row = {**row, "variables": json.loads(row["variables"]), "messages": json.loads(row["messages"])}
    return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return value
