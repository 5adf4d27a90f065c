"""The rows that finished records hold: what a plan is compared with where its own digests cannot tell.

A digest says that a row changed, not how. The records say which column it was and what it held. They are also all there
is to compare with where a plan has no digests of its rows: plans of 0.1.0 had none, and a damaged disk can lose them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.receipts import committed
from latentext.dataset.records import read_records
from latentext.plan.encoding import Prompt
from latentext.plan.keys import canonical_json, row_digest
from latentext.request import Message

_COLUMNS = ("index", "variables", "messages", "prompt_token_ids")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What the records hold of a request beside its texts."""

    index: int
    variables: Mapping[str, Any]
    messages: Sequence[Message]
    token_ids: Sequence[int]

    @property
    def digest(self) -> int:
        """The digest that the plan has of the row (`rows.u64`)."""
        return row_digest(self.variables, self.messages)

    def difference(self, now: Prompt) -> str | None:
        """In words what of the request has changed since, None if nothing has."""
        variables = json.loads(json.dumps(dict(now.variables)))
        for name in dict.fromkeys((*self.variables, *variables)):
            if name not in variables:
                return f"it has no {name!r} any more, which was {_shown(self.variables[name])}"
            if name not in self.variables:
                return f"it has {name!r} now, {_shown(variables[name])}, which it did not have"
            if canonical_json(variables[name]) != canonical_json(self.variables[name]):
                return f"{name!r} was {_shown(self.variables[name])} and is {_shown(variables[name])}"
        if canonical_json([dict(m) for m in now.messages]) != canonical_json([dict(m) for m in self.messages]):
            return f"its messages are now {_shown([dict(m) for m in now.messages])}"
        if list(self.token_ids) != list(now.token_ids):
            return f"its prompt has other token ids now: {_shown(now.text)}"
        return None


class StoredRows:
    """The rows of all finished records of a dataset, by request."""

    def __init__(self, root: Path):
        self._root = root

    def between(self, start: int, stop: int) -> Iterator[StoredRow]:
        """The rows of requests `start` … `stop` - 1 that have a record; one that has samples in several folders comes
        once for each.

        Raises:
            DatasetError: a file of records cannot be read.
        """
        for first, last, path in self._files:
            if first < stop and start < last:
                yield from (row for row in rows_of(path) if start <= row.index < stop)

    def find(self, index: int) -> StoredRow | None:
        """The row of one request, None if it has no record."""
        return next(self.between(index, index + 1), None)

    @cached_property
    def _files(self) -> list[tuple[int, int, Path]]:
        receipts = (
            committed(self._root, stage, number)
            for stage in layout.list_stages(self._root, "records")
            for number in layout.list_shards(self._root, stage)
        )
        return [
            (receipt.start, receipt.stop, self._root / receipt.stage / layout.table_name(receipt.shard))
            for receipt in receipts
            if receipt is not None
        ]


def rows_of(path: Path) -> Iterator[StoredRow]:
    """The rows of a file of records, one a request.

    Raises:
        DatasetError: it cannot be read.
    """
    before = None
    for batch in read_records([path], _COLUMNS).to_batches():
        for row in batch.to_pylist():
            if row["index"] != before:
                before = row["index"]
                yield StoredRow(
                    before, json.loads(row["variables"]), json.loads(row["messages"]), row["prompt_token_ids"]
                )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
