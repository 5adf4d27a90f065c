"""The size of shards: free while nothing is finished, then settled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.run.echo_engine import EchoEngine
from tests.run.made import contents
from tests.run.test_interrupted import InterruptedAt, asked

from latentext.dataset import layout
from latentext.dataset.documents import read_spec
from latentext.errors import SpecError
from latentext.plan.note import PlanNote
from latentext.run.interrupted import RunInterrupted
from latentext.run.progress import NoProgress
from latentext.run.provenance import read_provenance, write_provenance
from latentext.run.runner import make_dataset
from latentext.storage.lease import Leases


class Noting(NoProgress):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def begun(root: Path, texts: int = 2, **fields: Any) -> Path:
    """A directory whose run was interrupted after so many texts."""
    with pytest.raises(RunInterrupted):
        make_dataset(asked(**fields), root, engine=InterruptedAt(texts))
    return root


@pytest.mark.parametrize("size", [3, 40])
def test_a_directory_without_a_finished_shard_takes_another_size_and_says_so(tmp_path: Path, size: int) -> None:
    root, heard = begun(tmp_path / "data", shard_size=7), Noting()
    make_dataset(asked(shard_size=size), root, engine=EchoEngine(), progress=heard)
    assert f"nothing is finished here yet: shards now have {size} requests instead of 7" in heard.lines
    assert read_spec(root).shard_size == size
    make_dataset(asked(shard_size=size), tmp_path / "quiet", engine=EchoEngine())
    assert contents(root) == contents(tmp_path / "quiet")


def test_a_spec_that_names_no_size_takes_what_was_settled(tmp_path: Path) -> None:
    root = begun(tmp_path / "data", shard_size=7)
    make_dataset(asked(), root, engine=EchoEngine())
    assert layout.list_shards(root, "records/s0000-0000") == [0, 1]


def test_once_a_shard_is_finished_another_size_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    root = begun(tmp_path / "data", texts=4, shard_size=3)
    before = contents(root)
    with pytest.raises(SpecError, match="shard_size was 3 and is 2"):
        make_dataset(asked(shard_size=2), root, engine=EchoEngine())
    assert contents(root) == before


def test_a_size_that_comes_with_refused_prompts_is_not_taken(tmp_path: Path) -> None:
    root = begun(tmp_path / "data", shard_size=7)
    before = contents(root)
    other = {"template": "Write {n}.", "grid": {"n": {"range": [0, 11]}}}
    with pytest.raises(SpecError):
        make_dataset(asked(shard_size=2, prompts=other), root, engine=EchoEngine())
    assert contents(root) == before


def test_a_run_killed_between_the_two_files_that_hold_the_size_goes_on_with_the_new_one(tmp_path: Path) -> None:
    root = begun(tmp_path / "data", shard_size=7)
    made = read_provenance(root)
    assert made is not None
    write_provenance(root, made.model_copy(update={"shard_size": 4}))
    make_dataset(asked(), root, engine=EchoEngine())
    note = PlanNote.read(root / layout.PLAN)
    assert note is not None and note.shard_size == 4
    make_dataset(asked(shard_size=4), tmp_path / "quiet", engine=EchoEngine())
    assert contents(root) == contents(tmp_path / "quiet")


def test_while_another_run_computes_a_shard_the_size_stays(tmp_path: Path) -> None:
    root = begun(tmp_path / "data", shard_size=7)
    leases = Leases(root)
    try:
        with leases.take("records/s0000-0000/00001") as held:
            assert held
            with pytest.raises(SpecError, match="shard_size was 7 and is 2"):
                make_dataset(asked(shard_size=2), root, engine=EchoEngine())
    finally:
        leases.close()
