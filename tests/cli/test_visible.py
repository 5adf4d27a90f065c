"""Model output on a terminal: nothing acts, nothing hides, and token boundaries can be told from spaces."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from latentext.cli.visible import interlinear, visible


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    assert visible("\x1b]0;title\x07\x1b[2J") == r"\x1b]0;title\x07\x1b[2J"


def test_direction_marks_and_zero_width_characters_are_seen() -> None:
    assert visible("abc\u202edef\u200b\ufeff") == r"abc\u202edef\u200b\ufeff"


def test_a_written_escape_and_a_real_one_look_different() -> None:
    assert visible("\n") == r"\n"
    assert visible(r"\n") == r"\\n"


def test_what_can_be_seen_stays_as_it_is() -> None:
    assert visible("Grüße, 日本 👍 ½") == "Grüße, 日本 👍 ½"


@given(st.text(st.characters()))
def test_no_text_leaves_a_character_that_acts(text: str) -> None:
    assert not {unicodedata.category(character) for character in visible(text)} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl"}


def test_a_tokens_own_spaces_differ_from_the_cells_filling() -> None:
    assert interlinear([" a", "b  ", "·"], ["1000", "999", "998"], 80) == [
        r"│·a  │b··│\xb7│",
        " 1000 999  998",
    ]


def test_wide_characters_keep_the_labels_under_their_tokens() -> None:
    upper, lower = interlinear(["日本", "x"], ["1", "0"], 80)
    assert upper == "│日本│x│"
    assert lower == "    1 0"


@given(st.lists(st.text(st.characters(exclude_characters="│"), max_size=12), max_size=40), st.integers(20, 100))
def test_lines_keep_to_the_width_and_lose_no_token(tokens: list[str], width: int) -> None:
    labels = [str(count) for count in reversed(range(len(tokens)))]
    lines = interlinear(tokens, labels, width)
    for upper in lines[::2]:
        assert cell_len(upper) <= width or upper.count("│") == 2
    assert " ".join(lines[1::2]).split() == labels
