"""Prompts and their names as a user hands them over: checked as a whole, before anything is generated.

A text that is missing in the middle of a data frame would shift or break the alignment of texts, vectors and
covariates, so it is reported with its row and nothing is started.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentext.errors import ArgumentError, SpecError
from latentext.storage.atomic import write_bytes
from latentext.storage.filesystem import make_folder

Name = str | int
_SHOWN = 5
_LONGEST_NAME = 160
"""Bytes of an id; file systems allow 255, of which a prefix and the name of a temporary file take their part."""


def check_prompts(prompts: Iterable[Any]) -> list[str]:
    """The prompts as a list of strings.

    Raises:
        ArgumentError: one string or a table instead of a list of strings, none at all, or some that are no text or
            empty; they are named by their rows.

    Example:
        >>> check_prompts(("Write a poem.", "Write a story."))
        ['Write a poem.', 'Write a story.']
    """
    if isinstance(prompts, str):
        raise ArgumentError("prompts is one string", remedy="give a list of strings")
    if isinstance(prompts, Mapping) or hasattr(prompts, "columns"):  # These would give the names of their columns.
        raise ArgumentError(f"prompts is a {type(prompts).__name__}", remedy="give one of its columns")
    texts = list(prompts)
    if not texts:
        raise ArgumentError("prompts is empty", remedy="give at least one")
    bad = [f"row {row}: {problem}" for row, text in enumerate(texts) if (problem := _problem(text))]
    if bad:
        shown = ", ".join(bad[:_SHOWN]) + (f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
        raise ArgumentError(f"{len(bad)} of {len(texts)} prompts are no text ({shown})", remedy="fill or drop them")
    return [str(text) for text in texts]


def check_ids(ids: Iterable[Any] | None, count: int) -> list[Name]:
    """The names of the texts, which become parts of file names; without `ids` the numbers from 0.

    Raises:
        ArgumentError: not as many as prompts, two alike, or one that cannot be part of a file name.

    Example:
        >>> check_ids(["a1", 7], 2), check_ids(None, 2)
        (['a1', 7], [0, 1])
    """
    if ids is None:
        return list(range(count))
    names = [_name(value, row) for row, value in enumerate(ids)]
    if len(names) != count:
        raise ArgumentError(f"{len(names)} ids for {count} prompts", remedy="give one for each")
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if (first := seen.setdefault(str(name), row)) != row:
            raise ArgumentError(f"id {str(name)!r} stands in rows {first} and {row}", remedy="make ids unique")
    return names


def check_columns(columns: Mapping[str, Iterable[Any]] | None, count: int) -> dict[str, list[Any]]:
    """The input's other columns, one value per prompt.

    Raises:
        ArgumentError: a column has another number of values.

    Example:
        >>> check_columns({"stars": (1, 5)}, 2)
        {'stars': [1, 5]}
    """
    kept = {str(name): list(values) for name, values in (columns.items() if columns is not None else ())}
    for name, values in kept.items():
        if len(values) != count:
            raise ArgumentError(f"{len(values)} values for {count} prompts", where=f"columns[{name!r}]")
    return kept


def write_prompts(path: Path, prompts: Sequence[str], ids: Sequence[Name]) -> None:
    """Write prompts and ids as the JSON lines that the run reads; a list that has grown at its end is written again.

    Raises:
        SpecError: the file holds other prompts, of another run.
    """
    lines = (
        json.dumps({"id": name, "prompt": text}, ensure_ascii=False) for name, text in zip(ids, prompts, strict=True)
    )
    content = "".join(f"{line}\n" for line in lines).encode("utf-8")
    before = path.read_bytes() if path.exists() else b""
    if before == content:
        return
    if not content.startswith(before):
        raise SpecError(
            "holds the prompts of another run",
            where=str(path),
            remedy="choose another save_name, or give the same prompts (new ones may follow behind)",
        )
    make_folder(path.parent)
    write_bytes(path, content)


def _problem(text: Any) -> str:
    if text is None:
        return "None"
    if not isinstance(text, str):
        return "NaN" if text != text else f"a {type(text).__name__}"
    if not text.strip():
        return "empty" if not text else "only white space"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "half of a surrogate pair"
    return ""


def _names_a_file(name: str) -> bool:
    if not name.strip() or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        return False
    try:
        return len(name.encode("utf-8")) <= _LONGEST_NAME
    except UnicodeEncodeError:
        return False


def _name(value: Any, row: int) -> Name:
    where = f"ids[{row}]"
    if isinstance(value, str):
        if not _names_a_file(value):
            shown = value if len(value) <= _LONGEST_NAME else f"{value[:40]}…"
            raise ArgumentError(
                f"{shown!r} cannot be part of a file name", where=where, remedy="use letters and digits"
            )
        return value
    try:
        return int(operator.index(value))
    except TypeError:
        shown = "NaN" if value != value else f"a {type(value).__name__}"
        raise ArgumentError(f"the id is {shown}", where=where, remedy="use strings or whole numbers") from None
