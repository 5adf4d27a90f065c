"""The frame of the command line: exit codes, one-line errors, and what is never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def latentext(*words: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real program."""
    return subprocess.run(
        [sys.executable, "-m", "latentext", *map(str, words)],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "100"} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_the_program_without_a_command_prints_its_help() -> None:
    run = latentext()
    assert run.returncode == 0
    assert run.stdout == latentext("--help").stdout
    assert "latentext demo" in run.stdout


def test_the_version_is_that_of_the_package() -> None:
    import latentext as package

    assert latentext("--version").stdout == f"latentext {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["rnu"], "latentext: no such command 'rnu'. Did you mean 'run'? (see latentext --help)"),
        (["run"], "latentext run: missing argument 'SPEC' (see latentext run --help)"),
        (["run", "x", "--limit", "all"], "latentext run: invalid value for '--limit': Input should be a valid integer"),
        (["run", "x", "--limti"], "latentext run: no such option: --limti (Possible options: --limit) (see"),
        (["show"], "latentext show: missing argument 'DIR' (see latentext show --help)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(words: list[str], line: str) -> None:
    run = latentext(*words)
    assert run.returncode == 2
    assert run.stderr.startswith(line)
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_an_unknown_spec_names_the_recipes(tmp_path: Path) -> None:
    run = latentext("run", "lenght/same_prompt", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith("latentext: no such file or recipe: lenght/same_prompt; recipes are ")
    assert "length/same_prompt" in run.stderr.split("recipes are")[1]
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "status", "verify"])
def test_a_folder_that_is_no_dataset_is_named(command: str, tmp_path: Path) -> None:
    run = latentext(command, tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith(f"latentext: {tmp_path}: ")
    assert run.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_traceback() -> None:
    program = f"{sys.executable} -m latentext models --help | head -n 1"
    run = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert run.stderr == ""


@pytest.mark.parametrize(("environment", "expected"), [({}, "from-file"), ({"HF_TOKEN": "from-shell"}, "from-shell")])
def test_keys_come_from_dot_env_unless_the_environment_has_them(
    environment: dict[str, str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=from-file\n")
    (tmp_path / "below").mkdir()
    program = (
        "import os; from latentext.cli.app import exit_code; exit_code(['status', 'no']); print(os.environ['HF_TOKEN'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "below",
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert run.stdout == f"{expected}\n"
    assert expected not in run.stderr


def test_an_unexpected_error_keeps_its_traceback() -> None:
    """A fault of ours must be reportable: nothing between the error and the screen shortens it."""
    program = (
        "import latentext.run.status as module\n"
        "def fault(directory): raise ZeroDivisionError('ours')\n"
        "module.status = fault\n"
        "from latentext.cli.app import main; main(['status', 'x'])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    assert run.stderr.endswith("ZeroDivisionError: ours\n")
