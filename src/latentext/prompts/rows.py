"""Rows of named values, in order: what templates are filled from.

Every source answers for any row by its number without going through the rows before, so a run starts at any shard.
A row that cannot be read is a value (`BadRow`), not an exception: it becomes that request's failure and costs no other.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from latentext.errors import SpecError
from latentext.spec import GridValues, RangeSpec, Scalar


@dataclass(frozen=True, slots=True)
class BadRow:
    """Why one row gives no prompt: `reason` is ``bad-row``, ``empty-prompt`` or ``not-a-string``."""

    reason: str
    message: str


Row = dict[str, Any]

_FIRST_ROWS = 64


class Rows(Protocol):
    """A source of rows.

    Attributes:
        columns: the names that every row has, where they are known without reading rows; else None.
        identity: plain values that change when the source's content does (hashes, never paths).

    A source that cannot give some of its columns names them as `left_out`.
    """

    @property
    def columns(self) -> tuple[str, ...] | None: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def __len__(self) -> int: ...

    def row(self, index: int) -> Row | BadRow: ...


class GridRows:
    """Every combination of the grid's values; the first name is the outer loop.

    Row numbers are numbers in mixed radix, so a grid of 10**12 points needs no more memory than its values do.

    Example:
        >>> grid = GridRows({"count": RangeSpec(range=(5, 7)), "word": ("a", "b")})
        >>> [grid.row(index) for index in range(len(grid))]  # doctest: +NORMALIZE_WHITESPACE
        [{'count': 5, 'word': 'a'}, {'count': 5, 'word': 'b'}, {'count': 6, 'word': 'a'}, {'count': 6, 'word': 'b'}]
    """

    def __init__(self, grid: Mapping[str, GridValues]):
        self._values = {name: _grid_values(name, values) for name, values in grid.items()}
        self._length = math.prod(len(values) for values in self._values.values())
        if not grid:
            raise SpecError("the grid is empty", where="prompts.grid", remedy="give each variable its values")
        for name, values in self._values.items():
            if not values:
                raise SpecError(
                    "no values", where=f"prompts.grid.{name}", remedy="give at least one; a range stops before its end"
                )
        if self._length > sys.maxsize:
            what = f"{self._length:.0e} points are more than can be numbered"
            raise SpecError(what, where="prompts.grid", remedy="give fewer values")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._values)

    @property
    def identity(self) -> Mapping[str, Any]:
        # A range is named by its ends: listing it would take as long as the range is.
        named = {
            name: repr(values) if isinstance(values, range) else list(values) for name, values in self._values.items()
        }
        return {"grid": list(named.items())}

    def __len__(self) -> int:
        return self._length

    def row(self, index: int) -> Row:
        row: Row = {}
        for name, values in reversed(self._values.items()):
            index, place = divmod(index, len(values))
            row[name] = values[place]
        return {name: row[name] for name in self._values}


def _grid_values(name: str, values: GridValues) -> Sequence[Scalar]:
    if not isinstance(values, RangeSpec):
        return values
    try:
        numbers = range(*values.range)
        len(numbers)
    except (ValueError, OverflowError):
        what = f"range {list(values.range)} cannot be counted through"
        raise SpecError(what, where=f"prompts.grid.{name}", remedy="check its ends and its step") from None
    return numbers


class ListRows:
    """Rows written out in the spec; a text alone is the row's `prompt`."""

    columns = None

    def __init__(self, items: Sequence[str | Mapping[str, Any]]):
        if not items:
            raise SpecError("the list is empty", where="prompts.list", remedy="give at least one prompt")
        self._items = [item if isinstance(item, str) else _with_text_names(item) for item in items]

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"list": self._items}

    def __len__(self) -> int:
        return len(self._items)

    def row(self, index: int) -> Row:
        item = self._items[index]
        return {"prompt": item} if isinstance(item, str) else dict(item)


def _with_text_names(value: Any) -> Any:
    """The value as JSON has it: the names of its mappings are text, though YAML reads ``1: a`` as a number."""
    if isinstance(value, Mapping):
        named = {name if isinstance(name, str) else json.dumps(name): v for name, v in value.items()}
        if len(named) < len(value):
            raise SpecError("a row names something both as a number and as text", where="prompts.list")
        return {name: _with_text_names(item) for name, item in named.items()}
    return [_with_text_names(item) for item in value] if isinstance(value, list | tuple) else value


class OneRow:
    """The single row without values of a spec that has a template and nothing to fill it from."""

    columns: tuple[str, ...] = ()
    identity: Mapping[str, Any] = {}

    def __len__(self) -> int:
        return 1

    def row(self, index: int) -> Row:
        return {}


class RenamedRows:
    """Rows read under other names: ``{prompt: source}`` calls the column `source` `prompt`; the others keep theirs."""

    def __init__(self, rows: Rows, names: Mapping[str, str]):
        self._rows, self._names = rows, dict(names)
        require_columns(rows, names.values(), where="prompts.columns")
        self.left_out: tuple[str, ...] = getattr(rows, "left_out", ())

    @property
    def columns(self) -> tuple[str, ...] | None:
        columns = self._rows.columns
        return None if columns is None else tuple(self._rename(dict.fromkeys(columns)))

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._rows.identity, "columns": self._names}

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Row | BadRow:
        row = self._rows.row(index)
        return row if isinstance(row, BadRow) else self._rename(row)

    def _rename(self, row: Mapping[str, Any]) -> Row:
        renamed = {new: row[old] for new, old in self._names.items() if old in row}
        moved = set(self._names.values())
        return renamed | {name: value for name, value in row.items() if name not in moved and name not in renamed}


def doubled_name(names: Iterable[str]) -> str | None:
    """The first, in order of the alphabet, of the names that stand there more than once.

    Example:
        >>> doubled_name(["b", "a", "b"])
        'b'
    """
    return min((name for name, times in Counter(names).items() if times > 1), default=None)


def refuse_doubled_columns(names: Iterable[str], where: str) -> None:
    """Refuse columns of one name, of which a row could keep one only; two without a name too.

    Raises:
        SpecError: the first of them, in order of the alphabet.
    """
    doubled = doubled_name(names)
    if doubled == "":
        remedy = "name them, or delete those that are empty"
        raise SpecError("two columns have no name", where=where, remedy=remedy)
    if doubled is not None:
        raise SpecError(f"two columns are called {doubled!r}", where=where, remedy="rename one")


def known_columns(rows: Rows) -> list[str]:
    """The columns of the rows; where the source has no header those of its first rows."""
    if rows.columns is not None:
        return list(rows.columns)
    first = (rows.row(index) for index in range(min(len(rows), _FIRST_ROWS)))
    return list(dict.fromkeys(name for row in first if not isinstance(row, BadRow) for name in row))


def require_columns(rows: Rows, names: Iterable[str], *, where: str) -> None:
    """See that each name is a column of at least one row.

    Sources without a header are read only as far as it takes to see every name, as a rule the first row.

    Raises:
        SpecError: a name is no column; says which there are.
    """
    missing, present, bad = _seen(rows, set(names), lambda wanted, row: wanted - row.keys())
    if missing:
        raise _no_column(missing, present, bad, where)


def require_any_column(rows: Rows, names: Sequence[str], *, where: str) -> None:
    """See that one of the names is a column of at least one row; raises as `require_columns`."""
    found, present, bad = _seen(rows, set(names), lambda wanted, row: set() if wanted & row.keys() else wanted)
    if found:
        raise _no_column(found, present, bad, where)


def _seen(
    rows: Rows, wanted: set[str], still_wanted: Callable[[set[str], Mapping[str, Any]], set[str]]
) -> tuple[set[str], list[str], BadRow | None]:
    """What is still wanted after as many rows as needed, and the columns and the first bad row met on the way."""
    if rows.columns is not None:
        return still_wanted(wanted, dict.fromkeys(rows.columns)), list(rows.columns), None
    present: dict[str, None] = {}
    bad: BadRow | None = None
    for index in range(len(rows)):
        if not wanted:
            break
        row = rows.row(index)
        if isinstance(row, BadRow):
            bad = bad or row
        else:
            wanted = still_wanted(wanted, row)
            present |= dict.fromkeys(row)
    return wanted, list(present), bad


def _no_column(missing: set[str], present: Sequence[str], bad: BadRow | None, where: str) -> SpecError:
    if bad is not None and not present:
        return SpecError(f"no row can be read; the first: {bad.message}", where=where, remedy="check the input")
    what = f"no column {' or '.join(repr(name) for name in sorted(missing))} in the rows"
    if len(present) == 1 and (separator := _separator(present[0])) is not None:
        named, remedy = _SEPARATORS[separator]
        return SpecError(f"{what}; the first line looks separated by {named}: {present[0]}", where=where, remedy=remedy)
    alike = next(((want, name) for name in present for want in sorted(missing) if _is_alike(want, name)), None)
    if alike is not None:
        want, name = alike
        kind = "has spaces around its name" if name != name.strip() else "is written in another way"
        remedy = f"correct the name, or give prompts.columns: {{{want}: {name!r}}}"
        return SpecError(f"{what}; {name!r} {kind}", where=where, remedy=remedy)
    return SpecError(
        what, where=where, remedy=f"they have: {', '.join(present) or 'no columns'}; prompts.columns renames"
    )


_SEPARATORS = {
    ";": ("';'", "save the table separated by commas"),
    "\t": ("tabs", "name the file .tsv"),
    "|": ("'|'", "save the table separated by commas"),
    ",": ("commas", "name the file .csv"),
}


def _separator(header: str) -> str | None:
    """What separates the names of a header that was read as one name.

    Example:
        >>> _separator("prompt;label"), _separator("prompt")
        (';', None)
    """
    return next((mark for mark in _SEPARATORS if mark in header), None)


def _is_alike(wanted: str, name: str) -> bool:
    return wanted.casefold() == name.strip().casefold()
