"""How many texts and rows a probe is about, and why the others take no part.

A score of 46 texts out of 60 is a statement about those 46: texts that were cut are the long ones. So every text and
every row of states is counted once, as taking part or under one reason, and results, tables and pictures say it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentext.dataset.reader import Dataset
from latentext.dataset.targets import ENDINGS, TextLengths

Numbers = npt.NDArray[np.int64]

FAILED, PENDING = "the request failed", "not written yet"
UNCHECKED = "did not pass the check"
NO_STATES = "no states were captured"
NO_TARGET = "rows without this target"
PROMPT_ROWS = "rows of the prompt"


@dataclass(frozen=True)
class LeftOut:
    """Texts that take no part for one reason, and rows of states that do not; rows of prompts have no text."""

    reason: str
    texts: int
    rows: int


@dataclass(frozen=True)
class TakingPart:
    """All texts that were planned and all rows of states of a site: texts + Σ left out = all, and rows likewise.

    Attributes:
        texts, rows: that take part.
        left_out: the others by reason, each text and row once.
    """

    texts: int
    rows: int
    left_out: tuple[LeftOut, ...]

    @property
    def all_texts(self) -> int:
        return self.texts + sum(reason.texts for reason in self.left_out)

    @property
    def all_rows(self) -> int:
        return self.rows + sum(reason.rows for reason in self.left_out)

    def __str__(self) -> str:
        """One sentence.

        Example:
            >>> print(TakingPart(46, 960, (LeftOut("cut at the limit", 14, 1040),)))
            46 of 60 texts and 960 of 2,000 rows take part; left out: 14 texts, 1,040 rows (cut at the limit)
        """
        if not self.left_out:
            return f"all {self.texts:,} texts and {self.rows:,} rows take part"
        part = f"{self.texts:,} of {self.all_texts:,} texts and {self.rows:,} of {self.all_rows:,} rows take part"
        return f"{part}; left out: {'; '.join(map(_in_words, self.left_out))}"


def _in_words(left: LeftOut) -> str:
    texts = [f"{left.texts:,} {'text' if left.texts == 1 else 'texts'}"] if left.texts else []
    rows = [f"{left.rows:,} {'row' if left.rows == 1 else 'rows'}"] if left.rows else []
    return f"{', '.join(texts + rows)} ({left.reason})"


def taking_part(
    dataset: Dataset, lengths: TextLengths, kept: npt.NDArray[np.bool_], rows: Numbers, used: Numbers, prompt_rows: int
) -> TakingPart:
    """Count every text and row of states once.

    Args:
        kept: for each record whether the run's check lets it through.
        rows: for each record how many rows of states it has, those of its prompt aside.
        used: for each record how many of them take part.
        prompt_rows: rows of all prompts.
    """
    reason = np.full(len(rows), NO_TARGET, object)
    reason[rows == 0] = NO_STATES
    reason[~kept] = UNCHECKED
    for ending, words in ENDINGS.items():
        if words:
            reason[lengths.ending == ending] = words
    out = used == 0
    found = [
        LeftOut(str(words), int((out & (reason == words)).sum()), int(rows[out & (reason == words)].sum()))
        for words in dict.fromkeys(reason[out])
    ]
    further = int((rows - used)[~out].sum())
    counts = {words: LeftOut(words, 0, further) for words in (NO_TARGET,) if further}
    for left in found:
        rest = counts.get(left.reason, LeftOut(left.reason, 0, 0))
        counts[left.reason] = LeftOut(left.reason, left.texts + rest.texts, left.rows + rest.rows)
    missing = {PROMPT_ROWS: LeftOut(PROMPT_ROWS, 0, prompt_rows), **_without_record(dataset, len(rows))}
    everything = [*counts.values(), *missing.values()]
    left_out = sorted((left for left in everything if left.texts or left.rows), key=lambda left: -left.texts)
    return TakingPart(int((~out).sum()), int(used.sum()), tuple(left_out))


def _without_record(dataset: Dataset, records: int) -> dict[str, LeftOut]:
    """Texts that were planned and are not there; where samples are drawn until one is accepted, none is pending."""
    failed = sum(len(r.failures) for receipts in dataset.record_receipts.values() for r in receipts.values())
    planned = dataset.plan_count * (0 if dataset.spec.retries else dataset.spec.decoding.n)
    pending = max(0, planned - records - failed)
    return {FAILED: LeftOut(FAILED, failed, 0), PENDING: LeftOut(PENDING, pending, 0)}
