"""Whether a text does what "print cat ten times" asks: nothing but the word, and as often as asked.

A check is a reward with several numbers: it judges one text by its record alone, is kept with the scores, and can be
added to texts that exist. What it rejects stays in the dataset, to be seen and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from latentext.spec import RepetitionCheck

COLUMNS = ("accepted", "exact", "count_found", "count_error")
"""Numbers that every checked text gets; the first two are 0 or 1, `count_error` is found minus asked."""

_BETWEEN = frozenset(",.")


def judge_repetition(text: str, word: str) -> tuple[bool, int]:
    """Whether a text is nothing but a word, repeated, and how often the word stands in it.

    Case is ignored. White space, commas and full stops may stand between, before and after, or nothing at all.

    Example:
        >>> judge_repetition("Cat, cat\\ncatcat.", "cat"), judge_repetition("cat category", "cat")
        ((True, 4), (False, 2))
        >>> judge_repetition("1. cat 2. cat", "cat"), judge_repetition("", "cat")
        ((False, 2), (False, 0))
    """
    text, word = text.casefold(), word.casefold()
    place = found = 0
    while place < len(text):
        if text.startswith(word, place):
            place, found = place + len(word), found + 1
        elif text[place].isspace() or text[place] in _BETWEEN:
            place += 1
        else:
            return False, text.count(word)
    return found > 0, found


def measure_repetitions(check: RepetitionCheck, records: Sequence[Mapping[str, Any]]) -> list[dict[str, float] | str]:
    """For each record the numbers of `COLUMNS`, or in words why it cannot be judged."""
    return [_measure(check, json.loads(record["variables"]), record["text"]) for record in records]


def tally_repetitions(
    records: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, float] | str]
) -> dict[str, int]:
    """Counts for a receipt: accepted, rejected, exact, ``count_error.<n>`` of what is accepted, ``template.<n>``.

    From these follows all that `latentext.dataset.correctness` says, without opening a data file.
    """
    counts = Counter(dict.fromkeys(("accepted", "rejected", "exact"), 0))
    for record, found in zip(records, measured, strict=True):
        number = json.loads(record["variables"]).get("template")
        if isinstance(number, int):
            counts[f"template.{number}"] += 1
        if isinstance(found, str):
            continue
        counts["accepted" if found["accepted"] else "rejected"] += 1
        counts["exact"] += int(found["exact"])
        if found["accepted"]:
            counts[f"count_error.{found['count_error']:.0f}"] += 1
    return dict(counts)


def _measure(check: RepetitionCheck, variables: Mapping[str, Any], text: str) -> dict[str, float] | str:
    word, asked = variables.get(check.word), _whole_number(variables.get(check.count))
    if word is None or not str(word).strip():
        return f"the row has no word in {check.word!r}"
    if asked is None:
        return f"the row has no whole number in {check.count!r}"
    accepted, found = judge_repetition(text, str(word).strip())
    error = found - asked
    return dict(zip(COLUMNS, map(float, (accepted, accepted and error == 0, found, error)), strict=True))


def _whole_number(value: Any) -> int | None:
    """A count as rows have it: a number, or, from files without types, its digits."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
