"""One spelling for one idea, in every command; what a command was called before still works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from latentext.cli.app import app

SPELLINGS = {
    "--model": ("--model", "-m"),
    "--output": ("--output", "-o"),
    "--site": ("--sites",),
    "--pooling": ("--pool",),
    "--by": ("--split-by",),
    "--force": ("--overwrite",),
}
"""By one name of an option, the names that it must have too."""


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    below = getattr(group, "commands", None)
    if below is None:
        yield " ".join(words), group
    else:
        for name, command in below.items():
            yield from commands(command, (*words, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", ALL)
def test_an_option_has_the_spelling_that_it_has_elsewhere(name: str) -> None:
    for option in ALL[name].params:
        for known, others in SPELLINGS.items():
            if known in option.opts:
                assert set(others) <= set(option.opts), option.opts


@pytest.mark.parametrize("name", ALL)
def test_no_two_options_of_a_command_share_a_name(name: str) -> None:
    spelled = [word for option in ALL[name].params if option.param_type_name == "option" for word in option.opts]
    assert len(spelled) == len(set(spelled))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("probe", "--site"),
        ("represent", "--pooling"),
        ("pairs split", "--by"),
        ("pairs generate", "--force"),
        ("complete", "-mdl"),
    ],
)
def test_spellings_of_0_1_0_still_work(name: str, option: str) -> None:
    assert any(option in known.opts for known in ALL[name].params)
