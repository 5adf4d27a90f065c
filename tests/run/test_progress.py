"""Progress: what is counted, what is printed, and that nobody ever reads half a status file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from latentext.engines.server.spend import Spend
from latentext.run.live import RichProgress
from latentext.run.progress import LineProgress, NoProgress, StatusFile, progress_for
from latentext.run.tally import Tally


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rates_count_only_what_this_process_did() -> None:
    clock = Clock()
    tally = Tally(total=100, done_before=60, description="records", clock=clock)
    clock.now += 10
    tally.add(texts=20, tokens=500)
    assert tally.done == 80
    assert tally.tokens_per_second == 50
    assert tally.seconds_left == 10  # 20 texts took 10 s, 20 are left


def test_nothing_is_guessed_before_the_first_answer() -> None:
    tally = Tally(total=5, done_before=5, description="records", clock=Clock())
    assert tally.seconds_left is None
    assert tally.tokens_per_second == 0
    assert str(tally) == "records: 5 of 5"


def test_a_pipe_gets_a_line_every_few_seconds_and_a_last_one() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(stream, every=5, clock=clock)
    progress.start(1000, 0, "records")
    for _ in range(10):
        clock.now += 2
        progress.advance(100, 3000)
    progress.finish()
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "records: 0 of 1,000"
    assert lines[1] == "records: 300 of 1,000, 9,000 tokens, 1,500 tokens/s, about 14 s left"
    assert lines[-1] == "records: 1,000 of 1,000, 30,000 tokens, 1,500 tokens/s"
    assert len(lines) == 5
    assert "\x1b" not in stream.getvalue()


def test_a_note_passes_through_a_bar_as_it_is() -> None:
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=200))
    progress.start(10, 4, "records")
    progress.note("[bold]not markup[/bold] {and not a format}")
    progress.advance(6, 60)
    progress.finish()
    assert "[bold]not markup[/bold] {and not a format}" in stream.getvalue()
    assert "10/10" in stream.getvalue()


def test_the_status_file_is_whole_at_every_moment_and_says_how_it_ended(tmp_path: Path) -> None:
    clock = Clock()
    progress = StatusFile(NoProgress(), tmp_path, every=1, clock=clock)
    progress.start(100, 40, "records")
    for _ in range(20):
        clock.now += 0.5
        progress.advance(1, 30)
        status = json.loads((tmp_path / "status.json").read_text())
        assert status["state"] == "running"
    progress.note("batch halved")
    progress.finish()
    assert json.loads((tmp_path / "status.json").read_text()) == {
        "state": "ended",
        "stage": "records",
        "texts": {"total": 100, "done": 60},
        "tokens": 600,
        "tokens_per_second": 60.0,
        "seconds": 10.0,
        "seconds_left": 20.0,
        "waits": None,
        "note": "batch halved",
        "error": None,
        "spend": None,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_the_status_file_is_written_no_oftener_than_asked(tmp_path: Path) -> None:
    clock = Clock()
    progress = StatusFile(NoProgress(), tmp_path, every=1, clock=clock)
    progress.start(10, 0, "records")
    first = (tmp_path / "status.json").stat().st_ino
    clock.now += 0.9
    progress.advance(1, 1)
    assert (tmp_path / "status.json").stat().st_ino == first
    clock.now += 0.2
    progress.advance(1, 1)
    assert (tmp_path / "status.json").stat().st_ino != first


@pytest.mark.parametrize(("is_terminal", "kind"), [(True, RichProgress), (False, LineProgress)])
def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(is_terminal: bool, kind: type) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal  # type: ignore[method-assign]
    assert isinstance(progress_for(stream), kind)


def test_money_is_in_the_lines_and_in_the_status_file(tmp_path: Path) -> None:
    stream = io.StringIO()
    progress = StatusFile(LineProgress(stream, every=0.0), tmp_path, every=0.0)
    progress.start(2, 0, "texts")
    progress.spent(Spend(answers=1, prompt_tokens=1000, completion_tokens=200, picodollars=4_500_000_000))
    progress.advance(1, 200)
    progress.finish()
    assert "spent in all 1,000 prompt + 200 text tokens, 0.0045 USD" in stream.getvalue()
    spend = json.loads((tmp_path / "status.json").read_text())["spend"]
    assert (spend["prompt_tokens"], spend["completion_tokens"], spend["cost"]) == (1000, 200, 0.0045)


def test_what_requests_wait_for_is_a_line_below_the_bar_in_place_of_the_time_left() -> None:
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=80))
    progress.start(40, 0, "texts")
    progress.advance(18, 200)
    line = '22 requests wait: the server answered with error 500 ("oops"), next try in 8 s'
    progress.waits(line)
    drawn = stream.getvalue().rsplit("texts", 1)[1]
    progress.finish()
    assert line in drawn
    assert " left" not in drawn


def test_a_pipe_hears_of_waiting_at_once_and_then_every_few_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(stream, every=5, clock=clock)
    progress.start(40, 18, "texts")
    for second in range(12):
        clock.now += 1
        progress.waits(f"6 requests wait, second {second}")
    progress.waits(None)
    progress.waits("6 requests wait again")
    said = stream.getvalue().splitlines()
    assert said[1:] == [
        f"texts: 18 of 40, 6 requests wait{rest}" for rest in (*(f", second {s}" for s in (0, 5, 10)), " again")
    ]
