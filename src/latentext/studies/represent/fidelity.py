"""How faithful repeats are: for every text whether the model repeated it, and if not, by how much it differs.

A vector of a text that was not repeated belongs to another text, so it should not stand for this one in an analysis:
the table has a column to filter on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rapidfuzz.distance import Levenshtein

from latentext.dataset import layout
from latentext.dataset.reader import Dataset
from latentext.finish_reasons import are_whole, is_whole
from latentext.studies.represent.texts import Name

TOLERATED = 0.01
"""The part of texts that may be inexact before a run warns."""


@dataclass(frozen=True)
class Fidelity:
    """The summary of a fidelity table, in texts: exact + inexact + cut + failed = texts.

    Attributes:
        cut: stopped by the limit of tokens or by the context before the text was repeated, or for an unknown reason.
        failed: gave no text at all; `reasons` counts why.
        passes: of the model over all texts, as far as they were verified.
    """

    texts: int
    exact: int
    cut: int
    failed: int
    passes: int
    ties: int
    reasons: dict[str, int]

    @property
    def inexact(self) -> int:
        """Texts that ended by themselves as another text."""
        return self.texts - self.exact - self.cut - self.failed

    @property
    def warning(self) -> str | None:
        """What to tell the user if more texts than `TOLERATED` are not exact."""
        bad = self.texts - self.exact
        if bad <= TOLERATED * self.texts:
            return None
        return (
            f"{bad} of {self.texts} texts were not repeated exactly ({bad / self.texts:.1%}): their vectors belong to "
            "other texts; keep the rows whose column `exact` is true"
        )

    def __str__(self) -> str:
        parts = [
            f"{self.texts} texts: {self.exact} exact, {self.inexact} inexact, {self.cut} cut, {self.failed} failed"
        ]
        if self.reasons:
            parts.append("failed: " + ", ".join(f"{count} {reason}" for reason, count in self.reasons.items()))
        if self.passes:
            parts.append(f"{self.passes} passes of verification, {self.ties} misses within rounding")
        return "; ".join(parts)


def fidelity_table(
    dataset: Dataset, tokenizer: Any, ids: Sequence[Name] | None = None, variable: str = "prompt"
) -> tuple[pd.DataFrame, Fidelity]:
    """Compare every text with the one it should repeat, the value of `variable`.

    White space around a text does not count: chat templates leave it out. Distances are Levenshtein's: the least
    number of characters (or tokens) to insert, leave out or replace; `edit_distance` is that of the characters divided
    by the length of the longer text, from 0 to 1. `passes`, `misses`, `ties` and `decoded` are those of
    `latentext.request.Verification`, missing where texts were not verified.

    Args:
        tokenizer: of the model, to count tokens.
        ids: names of the prompts, for those that failed; otherwise their numbers.

    Returns:
        One row a prompt in the order of the prompts, failed ones included, and the summary.
    """
    rows = [row for table in dataset.iter_records(_COLUMNS) for row in _compare(table.to_pylist(), tokenizer, variable)]
    rows += _failed(dataset, ids)
    frame = pd.DataFrame(sorted(rows, key=lambda row: row["index"]), columns=_TABLE)
    counts = [name for name in _TABLE if name not in ("id", "exact", "edit_distance", "finish_reason")]
    frame = frame.astype(dict.fromkeys(counts, "Int64") | {"exact": bool})
    return frame, _summary(frame)


_COLUMNS = ["index", "variables", "text", "token_ids", "finish_reason", "verification"]
_TABLE = [
    "index",
    "id",
    "exact",
    "characters_differing",
    "tokens_differing",
    "edit_distance",
    "finish_reason",
    "passes",
    "misses",
    "ties",
    "decoded",
]


def _compare(records: list[dict[str, Any]], tokenizer: Any, variable: str) -> list[dict[str, Any]]:
    variables = [json.loads(record["variables"]) for record in records]
    wanted = [str(values.get(variable, "")).strip() for values in variables]
    wanted_ids = tokenizer(wanted, add_special_tokens=False, verbose=False)["input_ids"] if wanted else []
    special = set(tokenizer.all_special_ids)
    rows = []
    for record, values, text, token_ids in zip(records, variables, wanted, wanted_ids, strict=True):
        written = record["text"].strip()
        distance = Levenshtein.distance(text, written)
        written_ids = [token for token in record["token_ids"] if token not in special]
        rows.append(
            {
                "index": record["index"],
                "id": values.get("id", record["index"]),
                "exact": distance == 0 and is_whole(record["finish_reason"]),
                "characters_differing": distance,
                "tokens_differing": Levenshtein.distance(token_ids, written_ids),
                "edit_distance": Levenshtein.normalized_distance(text, written),
                "finish_reason": record["finish_reason"],
                **(record["verification"] or {}),
            }
        )
    return rows


def _failed(dataset: Dataset, ids: Sequence[Name] | None) -> list[dict[str, Any]]:
    """The rows of requests that gave no text."""
    path = dataset.directory / layout.FAILURES
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    failures = (json.loads(line) for line in lines)
    return [
        {
            "index": f["index"],
            "id": f["index"] if ids is None else ids[f["index"]],
            "exact": False,
            "finish_reason": f["reason"],
        }
        for f in failures
        if f["stage"].startswith("records/")
    ]


def _summary(frame: pd.DataFrame) -> Fidelity:
    failed = frame["characters_differing"].isna()
    cut = ~failed & ~are_whole(frame["finish_reason"])
    return Fidelity(
        texts=len(frame),
        exact=int(frame["exact"].sum()),
        cut=int(cut.sum()),
        failed=int(failed.sum()),
        passes=int(frame["passes"].sum()),
        ties=int(frame["ties"].sum()),
        reasons=dict(sorted(Counter(frame["finish_reason"][failed]).items())),
    )
