"""How long the rest will take: nothing while nobody can know, and then not far from what it took.

The streams are recordings of runs of a real model, and one of the stand-in server, on a busy machine of two cores: for
each change the seconds, texts finished, their tokens, and tokens of unfinished texts. They were recorded after the rule
was written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentext.run.tally import Tally, seconds_left

STREAMS = json.loads((Path(__file__).parents[1] / "data" / "progress_streams.json").read_text())


def estimates(stream: dict) -> list[tuple[float, float | None, float]]:
    """(seconds, estimate, what it took from there) at each change."""
    texts = tokens = under_way = 0
    found = []
    for seconds, more_texts, more_tokens, more_under_way in stream["events"]:
        texts, tokens, under_way = texts + more_texts, tokens + more_tokens, under_way + more_under_way
        left = seconds_left(seconds, texts, tokens, under_way, stream["total"] - stream["done_before"])
        found.append((seconds, left, stream["ended"] - seconds))
    return found


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream["name"])
def test_an_estimate_of_a_recorded_run_is_of_the_right_size(stream: dict) -> None:
    """Within a factor of five, on a machine whose other work changed its speed by more than two."""
    for _, left, took in estimates(stream):
        if left is not None and took > stream["ended"] / 10:
            assert took / 5 - 2 <= left <= 5 * took + 2


@pytest.mark.parametrize("stream", STREAMS[1:], ids=lambda stream: stream["name"])
def test_an_estimate_is_there_before_half_of_a_run_is_over(stream: dict) -> None:
    first = next(seconds for seconds, left, _ in estimates(stream) if left is not None)
    assert first < stream["ended"] / 2


def test_nothing_is_said_while_all_texts_that_are_left_are_longer_than_those_that_are_finished() -> None:
    """A run of one shard, in which all texts are written side by side: who is finished is short."""
    said = [left for _, left, took in estimates(STREAMS[0]) if left is not None and took > 3]
    assert said == []


def test_the_short_texts_that_end_first_say_nothing() -> None:
    """Eight texts of three tokens are done in three seconds, 120 long ones are not: "48 min left" was printed here."""
    assert seconds_left(3.0, texts=8, tokens=24, under_way=3000, to_do=1000) is None
    assert seconds_left(30.0, texts=100, tokens=3000, under_way=3001, to_do=1000) is None
    assert seconds_left(30.0, texts=100, tokens=3000, under_way=3000, to_do=1000) is not None


@pytest.mark.parametrize(("texts", "known"), [(4, False), (9, False), (10, True), (99, True)])
def test_a_tenth_of_what_was_to_do_comes_first(texts: int, known: bool) -> None:
    assert (seconds_left(5.0, texts, 20 * texts, 0, to_do=100) is not None) is known


def test_what_an_earlier_run_made_is_neither_work_nor_left() -> None:
    now = 0.0
    tally = Tally(1000, 900, "texts", clock=lambda: now)
    tally.add(5, 100)
    now = 10.0
    assert tally.seconds_left is None
    tally.add(5, 100)
    assert tally.seconds_left == pytest.approx(90.0)


def test_tokens_of_unfinished_texts_are_shown_before_the_first_is_finished() -> None:
    now = 0.0
    tally = Tally(120, 0, "texts", clock=lambda: now)
    now = 10.0
    tally.writing(3400)
    assert str(tally) == "texts: 0 of 120, 3,400 tokens, 340 tokens/s"
    tally.writing(-3400)
    tally.add(40, 3400)
    assert (tally.written, tally.under_way) == (3400, 0)
