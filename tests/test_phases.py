"""Phases: told before the work begins, in order, nested, also when it fails; and time that is no measure of work."""

from __future__ import annotations

import time

import pytest

from latentext import phases
from latentext.phases import Phase, phase, preparing, seconds_at_work, watched_by, watcher


class Diary:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def phase_begins(self, phase: Phase) -> None:
        self.lines.append(f"begin {phase}")

    def phase_moves(self, phase: Phase) -> None:
        self.lines.append(str(phase))

    def phase_ends(self, phase: Phase) -> None:
        self.lines.append(f"end {phase.what}")


def test_work_is_announced_before_it_begins_and_ended_when_it_fails() -> None:
    diary = Diary()
    with watched_by(lambda: diary), pytest.raises(OSError), phase("reading", total=1200) as reading:
        diary.lines.append("work")
        with phase("hashing") as hashing:
            hashing.moved(3)
        reading.reached(700)
        raise OSError
    assert diary.lines == [
        "begin reading: 0 of 1,200",
        "work",
        "begin hashing",
        "hashing: 3",
        "end hashing",
        "reading: 700 of 1,200",
        "end reading",
    ]


def test_with_nobody_watching_a_phase_only_counts() -> None:
    assert watcher() is None
    with phase("reading", total=2) as reading:
        reading.moved()
    assert str(reading) == "reading: 1 of 2"


def test_the_watcher_is_made_when_the_first_phase_begins() -> None:
    made = []
    with watched_by(lambda: made.append(Diary()) or made[-1]):  # type: ignore[func-returns-value]
        assert made == []
        for _ in range(2):
            with phase("reading"):
                pass
    assert len(made) == 1


def test_time_in_which_a_model_loads_is_no_time_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    begun = seconds_at_work()
    now += 3
    with preparing("loading the model"):
        now += 100
        assert seconds_at_work() - begun == 3
        with preparing("reading the weights"):
            now += 1000
    now += 4
    assert seconds_at_work() - begun == 7
    assert phases._depth == 0
