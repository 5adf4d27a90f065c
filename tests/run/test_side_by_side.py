"""Engines that take several shards at once, and models that are behind a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.run.echo_engine import EchoEngine
from tests.run.made import contents, leftovers

import latentext
from latentext.dataset.receipts import Receipt
from latentext.errors import EngineError, SpecError
from latentext.plan import Shard
from latentext.run.progress import NoProgress
from latentext.run.runner import capture_states, make_dataset
from latentext.run.under_way import Advance
from latentext.run.verification import verify
from latentext.run.work import Work, finish_stage
from latentext.run.workspace import prepare
from latentext.spec import Spec, StatesSpec
from latentext.spec.files import load_spec


@pytest.fixture
def remote_spec() -> Spec:
    """Twelve prompts in six shards, for a model that no file describes."""
    return load_spec(
        {
            "model": {"name": "some-model", "engine": "openai"},
            "prompts": {
                "template": "Say {word} {count} times.",
                "grid": {"count": {"range": [0, 4]}, "word": ["a", "b", "c"]},
            },
            "shard_size": 2,
        }
    )


def test_shards_generated_side_by_side_are_those_generated_one_after_the_other(
    remote_spec: Spec, tmp_path: Path
) -> None:
    make_dataset(remote_spec, tmp_path / "one", engine=EchoEngine())
    engine = EchoEngine(3, together=3)
    summary = make_dataset(remote_spec, tmp_path / "three", engine=engine)
    assert summary.accepted == 12
    assert sorted(engine.committed_requests) == list(range(12))
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    assert leftovers(tmp_path / "three") == []


def test_an_error_in_one_shard_ends_those_beside_it_and_leaves_nothing_behind(
    remote_spec: Spec, tmp_path: Path
) -> None:
    engine = EchoEngine(3, together=3, broken_at=2)
    with pytest.raises(EngineError, match="broke"):
        make_dataset(remote_spec, tmp_path / "data", engine=engine)
    assert engine.closed.is_set()
    assert leftovers(tmp_path / "data") == []
    assert make_dataset(remote_spec, tmp_path / "data", engine=EchoEngine(2, together=2)).accepted == 12


def test_texts_of_a_server_keep_its_usage_and_have_no_token_ids(remote_spec: Spec, tmp_path: Path) -> None:
    make_dataset(remote_spec, tmp_path / "data", engine=EchoEngine(2))
    data = latentext.open_dataset(tmp_path / "data")
    table = data.to_pandas()
    assert table["text"][0] == ".semit 0 a yaS"
    assert list(table["token_ids"][0]) == []
    assert data.provenance["engine"] == {"retokenized": False}
    assert data.provenance["identity"]["model.dtype"] is None
    assert verify(tmp_path / "data") == []


def test_states_of_a_model_behind_a_server_are_refused_before_anything_is_asked(
    remote_spec: Spec, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"behind a server.*model\.local"):
        make_dataset(remote_spec.model_copy(update={"states": StatesSpec()}), tmp_path / "data", engine=EchoEngine())
    assert not (tmp_path / "data").exists()
    make_dataset(remote_spec, tmp_path / "texts", engine=EchoEngine())
    with pytest.raises(SpecError, match=r"behind a server.*model\.local"):
        capture_states(tmp_path / "texts", StatesSpec())
    assert leftovers(tmp_path / "texts") == []


def test_options_of_another_engine_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match="api is for engine openai or openai-batch, not transformers"):
        load_spec({"model": {"name": "tiny", "api": {}}, "prompts": {"list": ["Hello."]}})


def test_a_thread_that_is_late_when_the_run_stops_opens_no_engine_and_finishes_no_shard(
    remote_spec: Spec, tmp_path: Path
) -> None:
    """Between its lease and its engine: the other thread's shard has failed, and the engine is closed."""
    workspace = prepare(remote_spec, tmp_path / "data", NoProgress(), EchoEngine(2))
    finished: list[int] = []

    def compute(shard: Shard, advance: Advance) -> Receipt:
        if shard.number == 0:
            raise EngineError("the engine broke")
        assert workspace.stopped.wait(60)
        with pytest.raises(EngineError, match="the run was stopped"):
            _ = workspace.engine
        advance(1, 0)
        finished.append(shard.number)
        raise AssertionError("this is not reached")

    work = Work("records/s0000-0000", "texts", 1, lambda shard: None, compute, shards_in_flight=lambda: 2)
    with pytest.raises(EngineError, match="the engine broke"):
        finish_stage(workspace, work, NoProgress(), lambda texts, tokens: None)
    workspace.leases.close()
    assert finished == []
