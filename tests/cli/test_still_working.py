"""Nothing is silent on a terminal: what is at work is shown in every pause, and is in the way of nothing."""

from __future__ import annotations

import gc
import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.run.made import small_spec

from latentext.cli import app as command_line
from latentext.cli import still_working
from latentext.cli.still_working import SILENCE, _Terminal, input_awaited, never_silent
from latentext.dataset.reader import open_dataset
from latentext.phases import phase, watched_by, watcher
from latentext.run.live import RichProgress
from latentext.run.progress import LineProgress, progress_for
from latentext.run.runner import make_dataset

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Screen(io.StringIO):
    """A terminal that remembers everything it was sent."""

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        return self.getvalue()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """Both standard streams are this terminal, and nobody looks at it but the test."""
    screen = Screen()
    with monkeypatch.context() as patched:
        for name in ("stdout", "stderr"):
            patched.setattr(sys, name, screen)
        patched.setattr(_Terminal, "_keep_looking", lambda self: None)
        patched.setenv("TERM", "xterm")
        yield screen


@contextmanager
def at_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_Terminal, Screen, Clock]]:
    """A watched terminal on which a command runs."""
    with a_terminal(monkeypatch) as screen:
        clock = Clock()
        watched = _Terminal(sys.stderr, clock)
        with watched_by(lambda: watched), watched.watching(), phase("latentext probe"):
            yield watched, screen, clock


def test_a_pause_is_filled_with_what_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(monkeypatch) as (terminal, screen, clock):
        terminal.look()
        assert screen.shown == ""
        clock.now += SILENCE
        terminal.look()
        assert "latentext probe" in screen.shown
        with phase("untrained twin, seed 0", total=48) as reading:
            reading.moved(16)
            terminal.display._live.refresh()  # type: ignore[union-attr]
            assert "untrained twin, seed 0: 16 of 48" in screen.shown


def test_what_is_printed_stands_on_the_screen_as_it_is_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(monkeypatch) as (terminal, screen, clock):
        line = "a line of results [bold]that is no markup[/bold] " + "and longer than any screen " * 20
        clock.now += SILENCE
        terminal.look()
        print(line)
        typer.echo(line, err=True)
        shown = screen.shown
        assert shown.endswith(f"{line}\n{line}\n")
        # Taken off before the first was printed, and not drawn again until a pause.
        terminal.look()
        assert screen.shown == shown


def test_the_display_waits_for_the_end_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(monkeypatch) as (terminal, screen, clock):
        print("half a", end="")
        clock.now += 10 * SILENCE
        terminal.look()
        assert screen.shown == "half a"
        print(" line")
        clock.now += SILENCE
        terminal.look()
        assert "latentext probe" in screen.shown


def test_somebody_who_types_is_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(monkeypatch) as (terminal, screen, clock):
        with input_awaited():
            clock.now += 10 * SILENCE
            terminal.look()
            assert screen.shown == ""
        terminal.look()
        assert "latentext probe" in screen.shown


def test_a_pager_that_got_text_has_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    with a_terminal(monkeypatch) as screen, os.fdopen(theirs, "w") as pipe, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", pipe)
        clock = Clock()
        watched = _Terminal(sys.stderr, clock)
        with watched_by(lambda: watched), watched.watching(), phase("latentext show"):
            clock.now += SILENCE
            watched.look()
            assert "latentext show" in screen.shown
            print("a text", flush=True)
            shown = screen.shown
            clock.now += 100 * SILENCE
            watched.look()
            assert screen.shown == shown
    with os.fdopen(ours) as read:
        assert read.read() == "a text\n"


def test_stages_and_phases_share_one_display(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(monkeypatch) as (terminal, screen, _clock):
        progress = progress_for(sys.stderr)
        assert progress is terminal.display
        progress.start(120, 0, "texts")
        with phase("loading the model"):
            terminal.display._live.refresh()  # type: ignore[union-attr]
            assert "texts" in screen.shown and "0/120" in screen.shown and "loading the model" in screen.shown
        progress.writing(3400)
        terminal.display._live.refresh()  # type: ignore[union-attr]
        assert "3,400 tokens" in screen.shown
        progress.finish()


def test_a_pipe_gets_plain_lines_of_phases_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    clock = Clock()
    with never_silent("latentext verify"):
        lines = watcher().lines  # type: ignore[union-attr]
        lines._clock, lines._last_line = clock, clock()
        assert progress_for(sys.stderr) is lines and isinstance(lines, LineProgress)
        with phase("computing states again", total=32) as computing:
            computing.moved()
            clock.now += 6
            computing.moved()
            computing.moved()
    assert out.getvalue() == "computing states again: 2 of 32\n"


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield from commands(command, (*path, name)) if hasattr(command, "commands") else [(*path, name)]


ALL = sorted(commands(typer.main.get_command(command_line.app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_announces_itself_before_it_does_anything(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def called(args: Any, **_: Any) -> None:
        assert list(args) == [*path, "data/x"]
        found.extend(str(one) for one in watcher()._phases)  # type: ignore[union-attr]

    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setattr(command_line, "app", called)
    assert command_line.exit_code([*path, "data/x"]) == 0
    assert found == [" ".join(("latentext", *path))]


def test_streams_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal(monkeypatch):
        before = sys.stdout, sys.stderr
        with pytest.raises(ValueError), never_silent("latentext run"):
            assert sys.stderr is not before[1]
            raise ValueError
        assert (sys.stdout, sys.stderr) == before
        assert watcher() is None


def test_the_end_of_a_command_is_no_silence_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch loaded, Python would collect for seconds what the process's end frees anyway."""
    monkeypatch.setattr(command_line, "exit_code", lambda arguments: 3)
    try:
        with pytest.raises(SystemExit) as left:
            command_line.main(["run", "spec.yaml"])
        assert left.value.code == 3
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_help_and_version_load_nothing_for_a_display_that_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal(monkeypatch), never_silent("latentext"):
        assert "display" not in vars(watcher())


def on_a_terminal(words: list[str], folder: Path) -> tuple[str, str, int]:
    """A real process whose error stream is a terminal and whose output is a pipe: both, and the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "latentext", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "OMP_NUM_THREADS": "1"},
    )
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:  # The other end is closed.
        pass
    os.close(ours)
    output, _ = process.communicate()
    return output.decode(), said.decode(), process.returncode


@pytest.mark.slow
def test_probe_verify_and_report_say_what_they_do_and_print_what_a_pipe_gets(stories260k: Path, tmp_path: Path) -> None:
    spec = small_spec(stories260k, counts=12)
    make_dataset(spec, tmp_path / "data")
    assert open_dataset(tmp_path / "data").spec.name == spec.name
    for words in (["verify", "data"], ["report", "data"], ["probe", "data", "--twins", "1"]):
        output, said, code = on_a_terminal(words, tmp_path)
        # Importing torch alone takes longer than the pause after which the display comes.
        assert f"latentext {words[0]}" in said and any(sign in said for sign in SPINNER), said
        plain = subprocess.run(
            [sys.executable, "-m", "latentext", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert (output, code) == (plain.stdout, plain.returncode)
        assert "\x1b" not in plain.stderr


def test_the_display_is_the_progress_of_this_stream_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(monkeypatch) as (terminal, _screen, _clock):
        other = progress_for(Screen())
        assert isinstance(other, RichProgress) and other is not terminal.display
        assert isinstance(progress_for(io.StringIO()), LineProgress)
        assert still_working.named(["pairs", "validate", "x.jsonl"]) == "latentext pairs validate"
