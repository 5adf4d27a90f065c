"""Pairs files of every kind, told apart by their names."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import OutputKind, checked_file, output_file
from latentext.errors import SpecError
from latentext.studies.pairs.jsonl import JSONL, read_json_lines, read_jsonl, write_jsonl
from latentext.studies.pairs.scenario import Scenario

_PARQUET = ".parquet"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def write_scenarios(
    path: Path,
    scenarios: Iterable[Scenario],
    *,
    details: bool = False,
    overwrite: bool = False,
    note: Callable[[str], None] | None = None,
) -> int:
    """Write a ``.parquet`` file, or JSON lines under any other name; return the number of scenarios.

    The file appears when it is complete.

    Args:
        scenarios: any number; they are not kept in memory.
        details: for JSON lines; a Parquet file always has them.
        overwrite: replace a file of pairs.
        note: is told the sha256 of the file when all of it is on the disk, before it gets its name.

    Raises:
        SpecError: the file exists already.
        DatasetError: the place lies in a dataset, or the file there holds something else.
    """
    with output_file(path, _kind(path), overwrite=overwrite, option="--force") as file:
        if path.suffix == _PARQUET:
            from latentext.studies.pairs.parquet import write_parquet

            count = write_parquet(file, scenarios)
        else:
            count = write_jsonl(file, scenarios, details=details)
        file.finish()
        if note is not None:
            note(file.sha256)
    return count


def check_place(path: Path, *, overwrite: bool) -> None:
    """Raise what `write_scenarios` would raise, before any work is done."""
    checked_file(path, _kind(path), overwrite=overwrite, option="--force")


def _kind(path: Path) -> OutputKind:
    if path.suffix != _PARQUET:
        return JSONL
    from latentext.studies.pairs.parquet import PARQUET

    return PARQUET


def read_scenarios(path: Path) -> Iterator[Scenario]:
    """Read what `write_scenarios` wrote, one scenario at a time.

    Raises:
        SpecError: the file is unreadable or not in its format; the line or column is named.
    """
    if path.suffix == _PARQUET:
        from latentext.studies.pairs.parquet import read_parquet

        return read_parquet(path)
    return read_jsonl(path)


def read_columns(path: Path, columns: tuple[str, str]) -> Iterator[tuple[Any, Any]]:
    """Pairs of bare texts from two named columns of a CSV, TSV or JSON lines file made elsewhere.

    Values of JSON are given as they are, strings or not.

    Raises:
        SpecError: the file is unreadable, or a row lacks one of the columns; the row and the columns it has are named.
    """
    rows = _delimited(path, _DELIMITERS[path.suffix]) if path.suffix in _DELIMITERS else read_json_lines(path)
    for number, row in rows:
        for column in columns:
            if column not in row:
                raise SpecError(
                    f"has no column {column!r}",
                    where=f"{path}, line {number}",
                    remedy=f"it has: {', '.join(str(name) for name in row)}",
                )
        yield row[columns[0]], row[columns[1]]


def _delimited(path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    from latentext.prompts.quotes import read_delimited  # With NumPy, which nothing else here needs.
    from latentext.prompts.rows import refuse_doubled_columns

    try:
        rows = read_delimited(path, delimiter)
        _, names = next(rows, (1, list[str]()))
        refuse_doubled_columns(names, where=str(path))
        for number, values in rows:
            yield number, dict(zip(names, values, strict=False))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"cannot be read ({error})", where=str(path), remedy="give a CSV file in UTF-8") from error
