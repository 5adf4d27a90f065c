"""Rows from a file of counterfactual pairs: the two texts of a pair stand next to each other.

Row 2i is a prompt and row 2i+1 its counterfactual, form after form and scenario after scenario, so that shards of an
even size hold both twins and nothing has to be looked up to find the other one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from latentext.errors import SpecError
from latentext.prompts.files import open_file
from latentext.prompts.rows import BadRow, Row, Rows, require_any_column
from latentext.spec import TWINS, FileSource, PairForm, PairsSource

_KINDS = [f"{form}_{twin}" for form in get_args(PairForm) for twin in TWINS]
"""What the lines of a scenario are called, in their order."""


class PairRows:
    """The texts of a pairs file as prompts, with the variables scenario_id, form, twin and task.

    Files of JSON lines have four lines a scenario, Parquet files one row; see docs/pairs.md.
    """

    columns = ("prompt", "scenario_id", "form", "twin", "task")

    def __init__(self, source: Rows, forms: tuple[PairForm, ...], path: Path):
        self._source, self._forms = source, forms
        self._in_lines = source.columns is None
        if self._in_lines and len(source) % len(_KINDS):
            what = f"holds {len(source)} lines, and a scenario has {len(_KINDS)}"
            raise SpecError(what, where=str(path), remedy="see docs/pairs.md for the format")
        require_any_column(source, ("text",) if self._in_lines else (f"{forms[0]}_prompt",), where=str(path))

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._source.identity, "pairs": list(self._forms)}

    def __len__(self) -> int:
        scenarios = len(self._source) // len(_KINDS) if self._in_lines else len(self._source)
        return scenarios * len(self._forms) * len(TWINS)

    def row(self, index: int) -> Row | BadRow:
        pair, twin = divmod(index, len(TWINS))
        scenario, form = divmod(pair, len(self._forms))
        kind = f"{self._forms[form]}_{TWINS[twin]}"
        return self._line(scenario, kind) if self._in_lines else self._column(scenario, kind)

    def _line(self, scenario: int, kind: str) -> Row | BadRow:
        row = self._source.row(scenario * len(_KINDS) + _KINDS.index(kind))
        if isinstance(row, BadRow):
            return row
        if row.get("type") != kind:
            return BadRow("bad-row", f"scenario {scenario} has {row.get('type')!r} where {kind!r} should stand")
        return _named(row, row.get("text"), kind)

    def _column(self, scenario: int, kind: str) -> Row | BadRow:
        row = self._source.row(scenario)
        return row if isinstance(row, BadRow) else _named(row, row.get(kind), kind)


def open_pairs(source: PairsSource, directory: Path) -> Rows:
    """The rows of a pairs file.

    Args:
        directory: where the index of the file is kept.

    Raises:
        SpecError: missing, unreadable, or no pairs file.
    """
    path = Path(source.path).expanduser()
    if not path.is_file():
        what, remedy = "no such file of pairs", "make one (latentext pairs substitute) or name it: prompts.pairs=FILE"
        raise SpecError(what, where=str(path), remedy=remedy)
    form = "parquet" if path.suffix == ".parquet" else "jsonl"  # As `latentext pairs` names its files.
    return PairRows(open_file(FileSource(path=source.path, format=form), directory), source.forms, path)


def _named(row: Mapping[str, Any], text: Any, kind: str) -> Row:
    form, _, twin = kind.rpartition("_")
    scenario = {"scenario_id": row.get("scenario_id"), "form": form, "twin": twin, "task": row.get("task")}
    return {"prompt": text, **scenario}
