"""The chats of a spec, by number: a row, the template filled from it, the system text.

Number i is row i, or with several templates each of which is used, template i // rows and row i % rows. Which template
a row gets at random hangs on the seed and the row's number alone, so that it is the same wherever a run starts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentext.errors import SpecError
from latentext.prompts.before import begun_by_first
from latentext.prompts.completion_corpora import CompletionRows, task_template
from latentext.prompts.corpora import open_corpus
from latentext.prompts.files import open_file
from latentext.prompts.hub import HubRows
from latentext.prompts.pair_rows import open_pairs
from latentext.prompts.row_chats import chat_of_row, kind_of
from latentext.prompts.rows import (
    BadRow,
    GridRows,
    ListRows,
    OneRow,
    RenamedRows,
    Row,
    Rows,
    known_columns,
    require_any_column,
    require_columns,
)
from latentext.prompts.templates import fields, fill, meant_as_gap
from latentext.request import Message
from latentext.spec import PromptSpec

_AS_KEPT = json.JSONEncoder(ensure_ascii=False, sort_keys=True, allow_nan=False)
_AS_FIRST_KEPT = json.JSONEncoder(ensure_ascii=False, sort_keys=True)

TEMPLATE_NUMBER = "template"
"""The variable that holds the number of the template, from 0, where a spec has `templates`."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One chat to send: the row's values, the messages, and its temperature where a spec has several."""

    variables: Mapping[str, Any]
    messages: Sequence[Message]
    temperature: float | None = None


class Conversations:
    """All chats of a spec, lazily; see `open_conversations`."""

    def __init__(self, rows: Rows, prompts: PromptSpec, seed: int, *, as_first: bool = False):
        self._as_first = as_first  # By the rules of 0.1.0: fields of messages are dropped, NaN is kept.
        self._rows, self._system, self._seed = rows, prompts.system, seed
        self._chosen, self._used_by_system = frozenset(prompts.columns), frozenset(fields(prompts.system or ""))
        self._templates = prompts.templates or ((prompts.template,) if prompts.template is not None else ())
        self._numbered = prompts.templates is not None
        self._random = self._numbered and prompts.template_choice == "random"

    def __len__(self) -> int:
        each = 1 if self._random else max(1, len(self._templates))
        return each * len(self._rows)

    def __getitem__(self, index: int) -> Conversation | BadRow:
        turn, number = divmod(index, len(self._rows))
        row = self._rows.row(number)
        if isinstance(row, BadRow):
            return row
        if self._random:
            turn = _draw(self._seed, number, len(self._templates))
        if self._numbered:
            row[TEMPLATE_NUMBER] = turn
        row = _as_kept(row, _AS_FIRST_KEPT if self._as_first else _AS_KEPT)
        if isinstance(row, BadRow):
            return row
        messages = self._fill_template(turn, row) if self._templates else self._chat_of(row)
        return messages if isinstance(messages, BadRow) else self._with_system(messages, row)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Columns of the source that its rows do not have, because JSON has no form for what they hold."""
        return getattr(self._rows, "left_out", ())

    def refuse_idle_templates(self) -> None:
        """Refuse templates whose rows change nothing, or that would send braces where a column was meant.

        Raises:
            SpecError: the first of them.
        """
        columns = known_columns(self._rows)
        places = [
            f"prompts.templates.{n}" if self._numbered else "prompts.template" for n in range(len(self._templates))
        ]
        texts = dict(zip(places, self._templates, strict=True))
        for where, text in {**texts, "prompts.system": self._system or ""}.items():
            if (found := meant_as_gap(text, set(columns))) is not None:
                form, name = found
                what = f"{form} is no gap: it would be sent as it stands"
                raise SpecError(what, where=where, remedy=f"write {{{name}}} to put in the column {name!r}")
        for where, text in texts.items():
            if columns and not fields(text) and not fields(self._system or ""):
                some = ", ".join(f"{{{name}}}" for name in columns[:3])
                raise SpecError(
                    f"has no gap, so all {len(self._rows):,} rows would give the same prompt",
                    where=where,
                    remedy=f"put a column in, such as {some}; several samples of one prompt are decoding.n",
                )

    def row_of(self, index: int) -> int:
        """The number of the row that a chat is made of, from 0."""
        return index % len(self._rows)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Plain values that change when any chat does."""
        return {
            "rows": self._rows.identity,
            "templates": list(self._templates),
            "numbered": self._numbered,
            "system": self._system,
            "seed": self._seed if self._random else None,
        }

    def _chat_of(self, row: Mapping[str, Any]) -> list[Message] | BadRow:
        return chat_of_row(row, chosen=self._chosen, used=self._used_by_system, as_first=self._as_first)

    def _fill_template(self, turn: int, row: Mapping[str, Any]) -> list[Message] | BadRow:
        text = _fill(self._templates[turn], row)
        if isinstance(text, BadRow):
            return text
        return [{"role": "user", "content": text}] if text.strip() else BadRow("empty-prompt", "the prompt is empty")

    def _with_system(self, messages: list[Message], row: Mapping[str, Any]) -> Conversation | BadRow:
        if self._system is None:
            return Conversation(row, messages)
        if messages[0]["role"] == "system":
            return BadRow("bad-row", "the chat has a system message, and the spec gives another")
        text = _fill(self._system, row)
        if isinstance(text, BadRow):
            return text
        return Conversation(row, [{"role": "system", "content": text}, *messages])


def open_conversations(prompts: PromptSpec, seed: int, directory: Path, begun_by: str | None = None) -> Conversations:
    """The chats of a spec.

    Args:
        prompts: relative paths in it are taken from the working directory.
        seed: decides which row gets which template where they are drawn, and where reviews of a corpus are cut.
        directory: where the index of an input file is kept.
        begun_by: the version of latentext that made the dataset's first shard, None for a new one.

    Raises:
        SpecError: a source is missing, unreadable or empty, or has no column that the spec needs.
    """
    if prompts.task is not None:
        prompts = prompts.model_copy(update={"template": task_template(prompts.corpus or "", prompts.task)})
    rows = _open_rows(prompts, seed, directory)
    if prompts.columns and not isinstance(rows, CompletionRows):  # Which renames them itself, before it cleans.
        rows = RenamedRows(rows, prompts.columns)
    templates = prompts.templates or ((prompts.template,) if prompts.template is not None else ())
    needed = {name for text in (*templates, prompts.system or "") for name in fields(text)}
    if prompts.templates is not None:
        _keep_number_free(rows, needed)
    require_columns(rows, needed, where="prompts.template")
    if not templates:
        require_any_column(rows, ("prompt", "messages"), where="prompts")
    return Conversations(rows, prompts, seed, as_first=begun_by_first(begun_by))


def _open_rows(prompts: PromptSpec, seed: int, directory: Path) -> Rows:
    if prompts.corpus is not None:
        return open_corpus(prompts, seed, directory)
    if prompts.grid is not None:
        return GridRows(prompts.grid)
    if prompts.list is not None:
        return ListRows(prompts.list)
    if prompts.file is not None:
        return open_file(prompts.file, directory)
    if prompts.hub is not None:
        return HubRows(prompts.hub)
    if prompts.pairs is not None:
        return open_pairs(prompts.pairs, directory)
    return OneRow()


def _keep_number_free(rows: Rows, needed: Iterable[str]) -> None:
    if TEMPLATE_NUMBER in needed or TEMPLATE_NUMBER in (rows.columns or ()):
        raise SpecError(
            f"the variable {TEMPLATE_NUMBER!r} holds the template's number",
            where="prompts.templates",
            remedy="give that column another name by prompts.columns",
        )


def _draw(seed: int, number: int, choices: int) -> int:
    """An even choice: the remainder of 256 hashed bits is biased by less than 2**-200."""
    return int.from_bytes(hashlib.sha256(f"latentext template {seed} {number}".encode()).digest()) % choices


def _fill(template: str, row: Mapping[str, Any]) -> str | BadRow:
    for name in fields(template):
        if name not in row:
            return BadRow("bad-row", f"the row has no {name!r}")
        if row[name] is None:
            return BadRow("bad-row", f"{name!r} is null")
        if not isinstance(row[name], str | int | float):
            return BadRow("not-a-string", f"{name!r} is {kind_of(row[name])}, not a text or a number")
    return fill(template, row)


def _as_kept(row: Row, encoder: json.JSONEncoder) -> Row | BadRow:
    """The row as it is kept, in JSON and UTF-8: NaN, which stands for a missing number, is null. Half a surrogate pair,
    which JSON can escape, has no form there. Names are sorted as they are for its digest in the plan: those that are
    partly numbers have no order."""
    try:
        encoder.encode(row).encode()
    except UnicodeEncodeError:
        return BadRow("bad-row", "the row holds half of a surrogate pair")
    except TypeError as error:
        return BadRow("bad-row", f"the row cannot be kept as JSON: {error}")
    except ValueError:  # A float that is not finite.
        infinite = next((name for name, value in row.items() if _holds(value, math.isinf)), None)
        if infinite is not None:
            return BadRow("bad-row", f"{infinite!r} is infinite, which JSON has no form for")
        return {name: _without_nan(value) for name, value in row.items()}
    return row


def _holds(value: Any, test: Callable[[float], bool]) -> bool:
    """Whether a value or a part of it is a float of this kind."""
    if isinstance(value, Mapping):
        return any(_holds(part, test) for part in value.values())
    if isinstance(value, list | tuple):
        return any(_holds(part, test) for part in value)
    return isinstance(value, float) and test(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
