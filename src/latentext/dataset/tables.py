"""Parquet files of a dataset: written atomically and with the same bytes for the same rows.

Every choice that reaches the bytes is fixed here (version, compression and its level, dictionary pages, statistics,
rows per group), so that a resumed run and an undisturbed one agree byte for byte under the same pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from latentext.dataset.documents import unreadable
from latentext.dataset.layout import FORMAT_VERSION, newer_version
from latentext.dataset.receipts import FileEntry
from latentext.errors import DatasetError
from latentext.storage import filesystem
from latentext.storage.atomic import PendingFile, atomic_file

_ROWS_PER_GROUP = 16_384
_VERSION_KEY = b"format_version"


def write_table(path: Path, table: pa.Table) -> FileEntry:
    """Write `table` to `path`; its only key/value metadata is the version of the format."""
    with atomic_file(path) as file, open_writer(file, table.schema) as writer:
        writer.write_table(table.cast(_marked(table.schema)), row_group_size=_ROWS_PER_GROUP)
    return FileEntry(name=path.name, sha256=file.sha256, size=file.size, rows=table.num_rows)


def open_writer(file: PendingFile, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer into `file` with the settings that fix the bytes."""
    return pq.ParquetWriter(
        file,
        _marked(schema),
        version="2.6",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
    )


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file of the dataset, all of it or some columns.

    Raises:
        DatasetError: the file is missing, not a regular file, damaged, of a newer format, or lacks a column.
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
        unknown = [name for name in columns or () if name not in names]
        if unknown:
            raise DatasetError(f"no column {unknown[0]!r}", where=str(path), remedy=f"columns are: {', '.join(names)}")
        try:
            table = file.read(columns=None if columns is None else list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error
    return table.replace_schema_metadata(None)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        source = filesystem.open_regular(path)
    except OSError as error:
        raise unreadable(path, error, "run the same command again") from error
    with source:
        try:
            file = pq.ParquetFile(source)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error
        version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, b"").decode(errors="replace")
        if newer_version(version):
            raise DatasetError(
                f"written in format version {version[:20]}, this latentext reads up to {FORMAT_VERSION}",
                where=str(path),
                remedy="update latentext",
            )
        yield file


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(
        f"truncated or damaged ({error})", where=str(path), remedy="run the same command again to rebuild it"
    )


def _marked(schema: pa.Schema) -> pa.Schema:
    return schema.with_metadata({_VERSION_KEY: str(FORMAT_VERSION)})
