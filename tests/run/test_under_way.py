"""Tokens of unfinished texts: told while the first shard is written, a few times per second, and taken back."""

from __future__ import annotations

from pathlib import Path

from latentext.engines.transformers.engine import TransformersEngine
from latentext.run.progress import NoProgress
from latentext.run.runner import make_dataset
from latentext.run.under_way import UnderWay
from latentext.spec import Spec


class Told:
    """Sums what it is told; `moves` are the single calls."""

    def __init__(self) -> None:
        self.moves: list[tuple[int, int, int]] = []

    def __call__(self, texts: int, tokens: int, under_way: int = 0, /) -> None:
        self.moves.append((texts, tokens, under_way))

    @property
    def under_way(self) -> int:
        return sum(move[2] for move in self.moves)


def test_steps_that_follow_each_other_at_once_are_told_together() -> None:
    now, told = 0.0, Told()
    writing = UnderWay(told, clock=lambda: now)
    for step in range(1000):
        now += 0.01
        writing.reached(8 * step)
    assert 30 < len(told.moves) < 45
    assert told.under_way > 7000


def test_a_finished_text_is_no_longer_under_way_and_no_token_counts_twice() -> None:
    now, told = 0.0, Told()
    writing = UnderWay(told, clock=lambda: now)
    now += 1
    writing.reached(100)
    writing.finished(1, 60)
    assert told.moves == [(0, 0, 100), (1, 60, -60)]
    writing.finished(1, 70)  # Thirty of its tokens were never told.
    assert told.under_way == 0
    now += 1
    writing.reached(5)
    writing.end()
    writing.end()
    assert told.under_way == 0


class Watched(NoProgress):
    """What a watcher sees before the first text is finished."""

    def __init__(self) -> None:
        self.before_first_text = self.texts = self.written = self.finished = self.most = 0

    def advance(self, texts: int, tokens: int) -> None:
        self.texts += texts
        self.finished += tokens
        self.most = max(self.most, self.finished + self.written)

    def writing(self, tokens: int) -> None:
        self.written += tokens
        if not self.texts:
            self.before_first_text = max(self.before_first_text, self.written)


def test_a_run_says_how_many_tokens_are_written_before_its_first_text_is_finished(
    spec: Spec, engine: TransformersEngine, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("latentext.run.under_way._SECONDS", 0.0)
    watched = Watched()
    make_dataset(spec, tmp_path / "data", engine=engine, progress=watched)
    assert watched.before_first_text > 0
    assert watched.written == 0  # All that was under way was finished.
    assert watched.most == watched.finished  # And no line on the way counted a token twice.
