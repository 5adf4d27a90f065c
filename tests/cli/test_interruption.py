"""Ctrl-C and SIGTERM have one wording in every command: what is kept, what is lost, which command goes on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.cli.test_still_working import ALL
from tests.run.made import small_spec

from latentext.cli import app as command_line
from latentext.cli.interruption import continued_by
from latentext.run.interrupted import Interruption, RunInterrupted
from latentext.spec.files import dump_spec


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_any_command_that_is_interrupted_says_so_and_ends_with_130(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    group: Any = typer.main.get_command(command_line.app)
    command = group
    for name in path:
        command = command.commands[name]
    monkeypatch.setattr(command, "callback", interrupted)
    monkeypatch.setattr(command, "params", [])
    monkeypatch.setattr(command_line, "app", lambda args, **more: group.main(args, **more))
    words = list(path)
    monkeypatch.setattr(sys, "argv", ["latentext", *words])
    assert command_line.exit_code(words) == 130
    assert capsys.readouterr().err == f"Interrupted. To start again: {shlex.join(['latentext', *words])}\n"


def said(error: KeyboardInterrupt, words: list[str], capsys: pytest.CaptureFixture[str], **more: bool) -> list[str]:
    with pytest.raises(typer.Exit) as left, continued_by(words, **more):
        raise error
    assert left.value.exit_code == 130
    return capsys.readouterr().err.splitlines()


NOTHING = Interruption(Path("data/x"), "texts", 0, 120, 37, 3400, 128, nothing_made=True)


def test_who_kept_nothing_is_offered_smaller_shards(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "a b.yaml", "--fresh", "--set", "shard_size=128"]
    assert said(RunInterrupted(NOTHING), words, capsys, sets_fields=True) == [
        "Interrupted. Kept in data/x: 0 of 120 texts. Lost: 37 finished texts and 3,400 tokens of unfinished texts; "
        "only whole shards are kept, here of 128 requests.",
        "To keep more next time, use smaller shards: latentext run 'a b.yaml' --set shard_size=14",
        "To go on: latentext run 'a b.yaml' --set shard_size=128",
    ]


def test_a_command_without_set_offers_none(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(RunInterrupted(NOTHING), ["represent", "p.csv", "-o", "x"], capsys)
    assert len(lines) == 2
    assert lines[1] == "To go on: latentext represent p.csv -o x"


def test_before_the_first_stage_there_is_nothing_to_lose(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(KeyboardInterrupt(), ["score", "data/x"], capsys) == [
        "Interrupted.",
        "To go on: latentext score data/x",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_offered_command_goes_on_with_smaller_shards(
    stories260k: Path, tmp_path: Path, sent: signal.Signals, workers: int
) -> None:
    """A run whose one shard never ends is interrupted while it writes, and the command that it prints is given."""
    decoding = {"min_new_tokens": 400, "max_new_tokens": 400}
    spec = small_spec(stories260k, counts=10, decoding=decoding).model_copy(update={"shard_size": 40})
    (tmp_path / "spec.yaml").write_text(dump_spec(spec))
    words = ["run", "spec.yaml", "-o", "data", *(["--workers", str(workers)] if workers else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "latentext", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("texts: 0 of 40") for line in lines)
    process.send_signal(sent)
    rest = list(lines)
    assert process.wait() == 130, rest
    kept, smaller, go_on = rest[-3:]
    assert kept.startswith("Interrupted. Kept in data: 0 of 40 texts")
    assert go_on == f"To go on: {shlex.join(['latentext', *words])}\n"
    assert "Traceback" not in "".join(rest)
    offered = smaller.removeprefix("To keep more next time, use smaller shards: latentext ")
    assert offered != smaller
    again = subprocess.run(
        [sys.executable, "-m", "latentext", *shlex.split(offered), "--limit", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    assert "nothing is finished here yet: shards now have 4 requests instead of 40" in again.stderr
    assert "shard_size: 4\n" in (tmp_path / "data" / "spec.yaml").read_text()
