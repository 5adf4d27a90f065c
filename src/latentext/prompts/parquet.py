"""Rows from a Parquet file, by row group: the file's own unit of random access."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from latentext.errors import SpecError
from latentext.prompts.rows import Row, doubled_name

_ROWS_AT_ONCE = 1024


class ParquetRows:
    """The rows of a Parquet file; one row group and 1,024 converted rows are held at a time.

    Columns of bytes (images, sound) and of durations are `left_out`: JSON, as which a row is kept, has no form for
    them.

    Raises:
        SpecError: damaged, or two columns or parts of a column have one name.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]):
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            what = str(error).splitlines()[0]
            raise SpecError(f"not readable as Parquet: {what}", where=str(path), remedy="check the file") from None
        self.identity = identity
        schema = self._file.schema_arrow
        if (doubled := _doubled(schema)) is not None:
            raise SpecError(f"two columns are called {doubled!r}", where=str(path), remedy="rename one")
        self.columns = tuple(field.name for field in schema if is_plain(field.type))
        self.left_out = tuple(field.name for field in schema if not is_plain(field.type))
        metadata = self._file.metadata
        counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._group_starts = [0, *accumulate(counts)]
        self._group: tuple[int, pa.Table | None] = (-1, None)
        self._window: tuple[int, list[Row]] = (0, [])

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def row(self, index: int) -> Row:
        start, rows = self._window
        if not start <= index < start + len(rows):
            start, rows = self._window = self._read_window(index)
        return dict(rows[index - start])

    def _read_window(self, index: int) -> tuple[int, list[Row]]:
        number = bisect_right(self._group_starts, index) - 1
        if self._group[0] != number:
            self._group = (number, None)  # Let the old group go before the next is read.
            self._group = (number, self._file.read_row_group(number, columns=list(self.columns)))
        within = (index - self._group_starts[number]) // _ROWS_AT_ONCE * _ROWS_AT_ONCE
        table = self._group[1]
        assert table is not None
        rows = [plain_row(row) for row in table.slice(within, _ROWS_AT_ONCE).to_pylist()]
        return self._group_starts[number] + within, rows


def _doubled(fields: Iterable[pa.Field], within: str = "") -> str | None:
    """A name that two columns, or two parts of one, have; with the names of the columns around it."""
    fields = list(fields)
    if (name := doubled_name(field.name for field in fields)) is not None:
        return within + name
    for field in fields:
        kind = field.type
        inner = [kind.field(place) for place in range(kind.num_fields)] if pa.types.is_nested(kind) else []
        if (name := _doubled(inner, f"{within}{field.name}.")) is not None:
            return name
    return None


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type can be written as JSON (days, times and decimals as text)."""
    if pa.types.is_nested(kind):
        return all(is_plain(kind.field(place).type) for place in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return is_plain(kind.value_type)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (binary or isinstance(kind, pa.BaseExtensionType) or pa.types.is_duration(kind))


def plain_row(row: Mapping[str, Any]) -> Row:
    """A row with days, times and decimals as text."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return plain_row(value)
    if isinstance(value, list | tuple):  # A map comes as pairs.
        return [_plain(item) for item in value]
    return value
