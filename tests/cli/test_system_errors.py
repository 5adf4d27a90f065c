"""A full disk behind ``>``, or a process that does not use UTF-8, is one line and an exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentext.cli import app as command_line
from latentext.cli.app import exit_code

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
SPEC = "name: t\nmodel: tiny\nprompts: {list: [Hi]}\ndecoding: {max_new_tokens: 2, temperature: 0}\noutput: u_ü\n"


def started(words: list[str], folder: Path, *, stdout: str | None = None, **variables: str) -> tuple[int, str]:
    with Path(stdout or os.devnull).open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "latentext", *words],
            cwd=folder,
            env={**os.environ, **variables},
            stdout=file,
            stderr=subprocess.PIPE,
        )
    return done.returncode, done.stderr.decode()


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["corpora"], ["show", "--help"], ["run", "spec.yaml", "--dry-run"]],
    ids=" ".join,
)
def test_output_that_cannot_be_written_is_one_line(words: list[str], unbuffered: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    code, said = started(words, tmp_path, stdout=str(FULL), PYTHONUNBUFFERED=unbuffered)
    assert (code, said) == (1, "latentext: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file cannot be written: No space left on device"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command_line, "app", fails)
    assert exit_code(["status", "x"]) == 1
    assert capsys.readouterr().err == f"latentext: {line}\n"


def test_a_fault_of_the_network_that_nobody_caught_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(command_line, "app", fails)
    with pytest.raises(ConnectionResetError):
        exit_code(["status", "x"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are UTF-8 in any locale")
@pytest.mark.parametrize("words", [["run", "spec.yaml"], ["show", "u_ü"], ["verify", "u_ü"]], ids=" ".join)
def test_a_process_that_does_not_use_utf8_says_how_to_use_it(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    code, said = started(words, tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert code == 2
    assert said.endswith(
        ": this process writes names and texts as ascii, not as UTF-8; set the environment variable PYTHONUTF8=1\n"
    )
    assert said.startswith("latentext: ")
    assert said.count("\n") == 1
