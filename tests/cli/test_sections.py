"""``latentext --help`` lists every command once, in the section where people look for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer.main

from latentext.cli.app import app, exit_code
from latentext.cli.sections import SECTIONS


def test_every_command_is_in_exactly_one_section() -> None:
    listed = [name for commands in SECTIONS.values() for name in commands]
    commands = getattr(typer.main.get_command(app), "commands", {})
    assert sorted(listed) == sorted(commands)


def test_help_shows_the_sections_in_order_with_a_whole_line_for_each_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line.removesuffix(":") for line in lines if line.removesuffix(":") in SECTIONS]
    assert titles == list(SECTIONS)
    for name, words in (item for commands in SECTIONS.values() for item in commands.items()):
        (shown,) = [line for line in lines if line.split()[:1] == [name]]
        assert shown.split(maxsplit=1)[1] == words, "nothing is cut"
        assert len(shown) <= 80


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("latentext rep", ["report", "represent"]),
        ("latentext align sw", ["sweep"]),
        ("latentext run --dr", ["--dry-run"]),
    ],
)
def test_a_shell_completes_commands_and_options(typed: str, expected: list[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_LATENTEXT_COMPLETE": "complete_bash"}
    command = [sys.executable, "-c", "from latentext.cli.app import main; main()"]
    run = subprocess.run(command, env=os.environ | words, capture_output=True, text=True, check=True)
    assert run.stdout.split() == expected
