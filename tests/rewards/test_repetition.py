"""The repetition check: what is accepted, what is exact, and what is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.rewards.repetition import COLUMNS, judge_repetition, measure_repetitions, tally_repetitions
from latentext.spec import RepetitionCheck


@pytest.mark.parametrize("text", ["cat cat", "cat\ncat", "catcatcat", "Cat, CAT.", " cat,cat.\n", "cat"])
def test_nothing_but_the_word_is_accepted(text: str) -> None:
    assert judge_repetition(text, "cat") == (True, text.casefold().count("cat"))


@pytest.mark.parametrize(
    ("text", "found"),
    [("category", 1), ("1. cat\n2. cat", 2), ("cat dog cat", 2), ("cat; cat", 2), ('"cat"', 1), ("", 0), (" .", 0)],
)
def test_anything_else_is_rejected_and_counted_all_the_same(text: str, found: int) -> None:
    assert judge_repetition(text, "cat") == (False, found)


def test_case_is_folded_and_signs_in_a_word_are_signs() -> None:
    assert judge_repetition("STRASSE straße", "Straße") == (True, 2)
    assert judge_repetition("a.b a.b", "a.b") == (True, 2)
    assert judge_repetition("axb", "a.b") == (False, 0)
    assert judge_repetition("red dog, red dog", "red dog") == (True, 2)


@given(st.lists(st.sampled_from(["", " ", ", ", ".\n", "\t"]), min_size=1, max_size=40))
def test_every_joint_is_counted_through(joints: list[str]) -> None:
    assert judge_repetition("".join(joint + "sun" for joint in joints), "sun") == (True, len(joints))


def record(text: str, **variables: Any) -> dict[str, Any]:
    return {"variables": json.dumps(variables), "text": text}


def test_exact_is_accepted_with_the_count_asked_for() -> None:
    records = [record("cat " * count, word="cat", count=4) for count in (3, 4, 6)]
    measured = measure_repetitions(RepetitionCheck(), [*records, record("cat cat cat cat dog", word="cat", count=4)])
    rows = [[found[c] for c in COLUMNS] for found in measured if not isinstance(found, str)]
    assert rows == [[1, 0, 3, -1], [1, 1, 4, 0], [1, 0, 6, 2], [0, 0, 4, 0]]


def test_rows_that_cannot_be_judged_say_why() -> None:
    check = RepetitionCheck(word="term", count="times")
    records = [record("a", term="a", times="1"), record("a", times=1), record("a", term="a", times=1.5)]
    judged, *refused = measure_repetitions(check, records)
    assert not isinstance(judged, str) and judged["exact"] == 1
    assert refused == ["the row has no word in 'term'", "the row has no whole number in 'times'"]


def test_the_tally_has_every_text_once() -> None:
    rows = [("cat cat", 2), ("cat", 2), ("cat cat cat", 2), ("dog", 2)]
    records = [record(text, word="cat", count=count, template=7) for text, count in rows]
    measured = [*measure_repetitions(RepetitionCheck(), records), "no word"]
    assert tally_repetitions([*records, record("", template=8)], measured) == {
        "accepted": 3,
        "rejected": 1,
        "exact": 1,
        "count_error.0": 1,
        "count_error.-1": 1,
        "count_error.1": 1,
        "template.7": 4,
        "template.8": 1,
    }
