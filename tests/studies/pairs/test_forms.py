"""The text around a task, and its one terminal mark."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.studies.pairs import BARE, Form, with_terminal_mark


@pytest.mark.parametrize(
    ("task", "normalised"),
    [
        ("make a cake", "make a cake."),
        ("make a cake.", "make a cake."),
        ("make a cake..", "make a cake."),
        ("  make a cake . ", "make a cake."),
        ("make a cake;", "make a cake."),
        ("make a cake.,", "make a cake."),
        ("Is it warm?", "Is it warm?"),
        ("Is it warm?!", "Is it warm?"),
        ("Is it warm?.", "Is it warm?"),
        ('He said "go"', 'He said "go".'),
        ('He said "go."', 'He said "go."'),
        ('He said "go.".', 'He said "go."'),
        ("Wait (now)!", "Wait (now)!"),
        ("and so on…", "and so on…"),
        ("吃饭。", "吃饭。"),
        ("...", ""),
        (" \n", ""),
    ],
)
def test_a_task_gets_exactly_one_terminal_mark(task: str, normalised: str) -> None:
    assert with_terminal_mark(task) == normalised


@given(st.text(alphabet="ab .,;:!?…\"')(", max_size=12))
def test_normalising_twice_changes_nothing_more(task: str) -> None:
    once = with_terminal_mark(task)
    assert with_terminal_mark(once) == once
    assert not once.endswith((" ", "..", "?.", "!.", ",."))


def test_a_form_is_prefix_sentence_and_suffix() -> None:
    form = Form("single_token", "Yes or No?\n", "\nAnswer: ")
    assert form.text("Help me make a cake") == "Yes or No?\nHelp me make a cake.\nAnswer: "
    assert form.text("Is it late?") == "Yes or No?\nIs it late?\nAnswer: "


def test_the_bare_form_leaves_a_text_as_it_is() -> None:
    assert BARE.text(" The friends ") == " The friends "
