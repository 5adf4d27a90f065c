"""Which rows are kept and how they are labelled, written out by hand for small texts."""

from __future__ import annotations

import pytest

from latentext.spec import Positions
from latentext.states.rows import label_rows, most_rows, row_positions

PROMPT, TEXT = [10, 11, 12], [20, 21]

# (positions, prompt, text) → positions, predicted tokens, remaining lengths
BY_HAND = [
    ("generated", PROMPT, TEXT, [2, 3], [20, 21], [1, 0]),
    ("prompt", PROMPT, TEXT, [0, 1], [11, 12], [-1, -1]),
    ("all", PROMPT, TEXT, [0, 1, 2, 3], [11, 12, 20, 21], [-1, -1, 1, 0]),
    ("first", PROMPT, TEXT, [2], [20], [1]),
    ("last", PROMPT, TEXT, [3], [21], [0]),
    ("text", PROMPT, TEXT, [0, 1, 2, 3, 4], [11, 12, 20, 21, -1], [-1, -1, 1, 0, -1]),
    ("generated", PROMPT, [20], [2], [20], [0]),
    ("last", PROMPT, [20], [2], [20], [0]),
    ("first", PROMPT, [20], [2], [20], [0]),
    ("all", PROMPT, [20], [0, 1, 2], [11, 12, 20], [-1, -1, 0]),
    ("generated", [10], TEXT, [0, 1], [20, 21], [1, 0]),
    ("prompt", [10], TEXT, [], [], []),
    ("all", [10], [20], [0], [20], [0]),
    ("text", PROMPT, [], [0, 1, 2], [11, 12, -1], [-1, -1, -1]),
]


@pytest.mark.parametrize(("positions", "prompt", "text", "where", "tokens", "remaining"), BY_HAND)
def test_rows_and_labels(
    positions: Positions, prompt: list[int], text: list[int], where: list[int], tokens: list[int], remaining: list[int]
) -> None:
    kept = row_positions(positions, len(prompt), len(text))
    rows = label_rows(7, 3, kept, prompt, text, {})
    assert (rows.index, rows.sample) == (7, 3)
    assert rows.position.tolist() == where
    assert rows.token_id.tolist() == tokens
    assert rows.remaining.tolist() == remaining
    assert len(kept) <= most_rows(positions, len(prompt), max(1, len(text)))
