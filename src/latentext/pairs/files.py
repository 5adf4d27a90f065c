"""Pairs files of every kind, told apart by their names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from latentext.errors import SpecError
from latentext.pairs.jsonl import read_json_lines, read_jsonl, write_jsonl
from latentext.pairs.scenario import Scenario

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def write_scenarios(path: Path, scenarios: Iterable[Scenario], *, details: bool = False) -> int:
    """Write a ``.parquet`` file, or JSON lines under any other name; return the number of scenarios.

    `details` is for JSON lines; a Parquet file always has them.
    """
    if path.suffix == ".parquet":
        from latentext.pairs.parquet import write_parquet

        return write_parquet(path, scenarios)
    return write_jsonl(path, scenarios, details=details)


def read_scenarios(path: Path) -> Iterator[Scenario]:
    """Read what `write_scenarios` wrote, one scenario at a time.

    Raises:
        SpecError: the file is unreadable or not in its format; the line or column is named.
    """
    if path.suffix == ".parquet":
        from latentext.pairs.parquet import read_parquet

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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"cannot be read ({error})", where=str(path), remedy="give a CSV file in UTF-8") from error
