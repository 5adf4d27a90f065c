"""Help must answer at once: no command's help loads a heavy library."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer.main

from latentext.cli.app import app

HEAVY = {"torch", "transformers", "pyarrow", "numpy", "matplotlib", "pandas", "scipy", "sklearn", "openai"}
PROGRAM = """
import json, sys
from latentext.cli.app import exit_code
code = exit_code(json.loads(sys.argv[1]))
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""


def command_lines(command: object, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command and of every group of commands."""
    below = getattr(command, "commands", {})
    return [words, *(line for name, child in below.items() for line in command_lines(child, (*words, name)))]


@pytest.mark.parametrize("words", command_lines(typer.main.get_command(app)), ids=" ".join)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([*words, "--help"])], capture_output=True, text=True, check=True
    )
    *help_lines, last = run.stdout.splitlines()
    answer = json.loads(last)
    assert answer["code"] == 0
    assert f"Usage: latentext{''.join(' ' + word for word in words)}" in "\n".join(help_lines)
    assert not HEAVY & set(answer["modules"])


@pytest.mark.parametrize(
    ("before", "first", "expected"),
    [(None, "", "PASSIVE"), ("ACTIVE", "", "ACTIVE"), (None, "import torch", "None")],
    ids=["unset", "set by the user", "torch is there"],
)
def test_threads_wait_passively_unless_the_user_says_otherwise(before: str | None, first: str, expected: str) -> None:
    program = f"{first}\nimport os, latentext\nprint(os.environ.get('OMP_WAIT_POLICY'))"
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = others if before is None else others | {"OMP_WAIT_POLICY": before}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import latentext, sys; latentext.Spec, latentext.load_spec; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not HEAVY & set(run.stdout.split())
