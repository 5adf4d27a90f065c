"""An interrupted run says what is kept, what is lost, and whether smaller shards would keep more."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.run.echo_engine import EchoEngine
from tests.run.made import contents

from latentext.engines.engine import Generated
from latentext.request import Failure, Request
from latentext.run.interrupted import Interruption, RunInterrupted
from latentext.run.runner import make_dataset
from latentext.spec import Decoding, Spec


class InterruptedAt(EchoEngine):
    """Ctrl-C comes after so many texts."""

    def __init__(self, texts: int):
        super().__init__()
        self._texts = texts

    def generate(
        self, requests: Sequence[Request], samples: range, decoding: Decoding, seed: int, **options: Any
    ) -> Generator[Generated | Failure, None, None]:
        for result in super().generate(requests, samples, decoding, seed, **options):
            if self._texts == 0:
                raise KeyboardInterrupt
            self._texts -= 1
            yield result


def asked(**fields: Any) -> Spec:
    """Eleven texts of a server that is not asked: the engine is given."""
    return Spec.model_validate(
        {
            "name": "echo",
            "model": {"name": "tiny"},
            "prompts": {"template": "Say {n}.", "grid": {"n": {"range": [0, 11]}}},
            **fields,
        }
    )


def interrupted(spec: Spec, root: Path, texts: int) -> Interruption:
    with pytest.raises(RunInterrupted) as caught:
        make_dataset(spec, root, engine=InterruptedAt(texts))
    assert isinstance(caught.value, KeyboardInterrupt)
    return caught.value.left


def test_in_the_first_shard_nothing_is_kept_and_that_is_said(tmp_path: Path) -> None:
    left = interrupted(asked(shard_size=64), tmp_path / "data", texts=7)
    assert (left.kept, left.planned, left.lost, left.shard_size) == (0, 11, 7, 64)
    assert left.smaller_shards is not None and left.smaller_shards < 11
    assert str(left) == (
        f"Kept in {tmp_path / 'data'}: 0 of 11 texts. Lost: 7 finished texts; only whole shards are kept, here of "
        "64 requests"
    )


def test_whole_shards_are_kept_and_the_size_is_settled_then(tmp_path: Path) -> None:
    left = interrupted(asked(shard_size=3), tmp_path / "data", texts=7)
    assert (left.kept, left.planned, left.lost) == (6, 11, 1)
    assert left.smaller_shards is None
    assert "6 of 11 texts. Lost: 1 finished text; " in str(left)


def test_between_two_shards_nothing_is_lost(tmp_path: Path) -> None:
    left = interrupted(asked(shard_size=3), tmp_path / "data", texts=6)
    assert (left.kept, left.lost) == (6, 0)
    assert str(left) == f"Kept in {tmp_path / 'data'}: 6 of 11 texts"


def test_a_continued_run_counts_what_was_there(tmp_path: Path) -> None:
    interrupted(asked(shard_size=3), tmp_path / "data", texts=4)
    left = interrupted(asked(shard_size=3), tmp_path / "data", texts=5)
    assert (left.kept, left.lost) == (6, 2)


def test_the_offered_size_keeps_something_and_gives_the_bytes_of_a_run_that_had_it(tmp_path: Path) -> None:
    left = interrupted(asked(shard_size=64), tmp_path / "data", texts=7)
    smaller = asked(shard_size=left.smaller_shards)
    assert interrupted(smaller, tmp_path / "data", texts=7).kept > 0
    make_dataset(smaller, tmp_path / "data", engine=EchoEngine())
    make_dataset(smaller, tmp_path / "quiet", engine=EchoEngine())
    assert contents(tmp_path / "data") == contents(tmp_path / "quiet")


@pytest.mark.parametrize("planned", [1, 2, 3, 5, 12, 40, 120, 5000])
@pytest.mark.parametrize("shard_size", [1, 2, 6, 128, 512])
def test_an_offered_size_is_even_and_smaller_than_what_was_to_do(planned: int, shard_size: int) -> None:
    left = Interruption(Path("data"), "texts", 0, planned, 0, 0, shard_size, nothing_made=True)
    if (size := left.smaller_shards) is not None:
        assert size % 2 == 0 and 0 < size < min(planned, shard_size)
    else:
        assert min(planned, shard_size) <= 2


def test_answers_of_a_server_are_kept_one_by_one() -> None:
    left = Interruption(Path("data"), "texts", 10, 50, 18, 0, 10, answers_kept=True, nothing_made=True)
    assert str(left) == "Kept in data: 10 of 50 texts, and 18 answers, which are not asked for again"
    assert left.smaller_shards is None


def test_tokens_under_way_are_lost_too() -> None:
    left = Interruption(Path("data"), "texts", 0, 120, 2, 3400, 128)
    assert "Lost: 2 finished texts and 3,400 tokens of unfinished texts; only whole shards" in str(left)


def test_a_stage_of_scores_or_states_names_itself() -> None:
    left = Interruption(Path("data"), "scores length", 32, 120, 0, 0, 32)
    assert str(left) == "Kept in data: 32 of 120 texts (scores length)"
