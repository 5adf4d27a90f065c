"""The engine `openai-batch`: datasets through batches, against a stand-in that counts what it made and billed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.engines.batch.made import PatientClock
from tests.run.made import leftovers

import latentext
from latentext.engines.batch.engine import BatchEngine
from latentext.engines.server.journal import read_spend
from latentext.engines.server.standin import StandIn
from latentext.engines.server.standin.batch_faults import BatchFaults, Ending, RequestFault
from latentext.engines.server.standin.batches import BatchDesk
from latentext.errors import BudgetError, EngineError
from latentext.run.runner import make_dataset
from latentext.run.verification import verify
from latentext.spec import Spec
from latentext.spec.files import load_spec
from latentext.spec.limits import Limits


def spec_for(server: StandIn, engine: str = "openai-batch") -> Spec:
    """Six prompts in three shards, two samples each."""
    api = {"base_url": server.url, "prices": "openai"}
    return load_spec(
        {
            "model": {"name": "gpt-4o", "engine": engine, "api": api},
            "prompts": {"template": "Say {word}.", "grid": {"word": ["a", "b", "c", "d", "e", "f"]}},
            "decoding": {"temperature": 1.0, "max_new_tokens": 8, "n": 2},
            "shard_size": 2,
        }
    )


class Setting:
    """A server, its desk, and runs of the same dataset."""

    def __init__(self, server: StandIn, folder: Path, **faults: Any):
        self.desk, self.spec, self.root = BatchDesk(server, BatchFaults(**faults)), spec_for(server), folder / "data"
        self.journal = folder / "kept" / "journal.sqlite"

    def engine(self, limits: Limits | None = None) -> BatchEngine:
        clock = PatientClock().clock
        return BatchEngine(self.spec.model, journal=self.journal, limits=limits or Limits(), clock=clock)

    def run(self, limits: Limits | None = None, **options: Any) -> Any:
        engine = self.engine(limits)
        try:
            return make_dataset(self.spec, self.root, engine=engine, **options)
        finally:
            engine.close()


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def test_a_dataset_through_batches_has_the_texts_of_one_in_real_time(server: StandIn, tmp_path: Path) -> None:
    setting = Setting(server, tmp_path)
    summary = setting.run()
    assert (summary.accepted, summary.failed) == (12, 0)
    assert setting.desk.created == 3
    assert set(setting.desk.billed.values()) == {1}
    make_dataset(spec_for(server, "openai"), tmp_path / "live")
    batched, live = (
        latentext.open_dataset(setting.root).to_pandas(),
        latentext.open_dataset(tmp_path / "live").to_pandas(),
    )
    assert list(batched["text"]) == list(live["text"])
    assert verify(setting.root) == []
    assert leftovers(setting.root) == []
    assert not list(setting.journal.parent.glob("journal.sqlite.batches/*"))  # What is in the dataset is let go.


def test_money_is_counted_at_the_price_of_batches(server: StandIn, tmp_path: Path) -> None:
    setting = Setting(server, tmp_path)
    setting.run()
    make_dataset(spec_for(server, "openai"), tmp_path / "live", journal=tmp_path / "live.sqlite")
    batched, live = read_spend(setting.journal), read_spend(tmp_path / "live.sqlite")
    assert batched is not None and live is not None
    assert batched.tokens == live.tokens > 0
    assert batched.picodollars * 2 == live.picodollars


def test_a_run_that_ends_in_the_middle_goes_on_with_the_batches_it_sent(server: StandIn, tmp_path: Path) -> None:
    setting = Setting(server, tmp_path, short_downloads=99)
    with pytest.raises(EngineError, match="incomplete"):
        setting.run()
    assert setting.desk.created > 0
    setting.desk.faults = BatchFaults()
    assert setting.run().accepted == 12
    assert setting.desk.created == 3
    assert set(setting.desk.billed.values()) == {1}


def test_the_rest_of_an_expired_batch_and_failed_requests_are_asked_again(server: StandIn, tmp_path: Path) -> None:
    setting = Setting(server, tmp_path, endings=(Ending("expired", 1),), shuffled=True, doubled=True)
    assert setting.run().accepted == 12
    assert setting.desk.created == 4
    assert set(setting.desk.billed.values()) == {1}


def test_requests_that_fail_for_good_are_failures_and_can_be_retried(server: StandIn, tmp_path: Path) -> None:
    setting = Setting(server, tmp_path)
    fault = RequestFault(400, {"message": "This model's maximum context length is 8 tokens"}, times=2)
    setting.desk.faults = BatchFaults(requests={"Say a.": fault})  # Its two samples.
    summary = setting.run()
    assert (summary.accepted, summary.failed) == (10, 2)
    failures = (setting.root / "failures.jsonl").read_text()
    assert "prompt-too-long" in failures
    assert setting.run(retry_failed=True).accepted == 12


def test_a_cap_holds_and_raising_it_goes_on(server: StandIn, tmp_path: Path) -> None:
    setting = Setting(server, tmp_path)
    with pytest.raises(BudgetError):
        setting.run(Limits(max_cost=Decimal("0.0003")))
    spent = read_spend(setting.journal)
    assert spent is None or spent.picodollars <= 300_000_000
    assert setting.run(Limits(max_cost=Decimal("1"))).accepted == 12
    assert set(setting.desk.billed.values()) == {1}


def test_closing_the_engine_ends_the_waiting(server: StandIn, tmp_path: Path) -> None:
    setting = Setting(server, tmp_path)
    engine = BatchEngine(setting.spec.model, journal=tmp_path / "j", limits=Limits())  # With a clock that waits.
    ended: list[BaseException] = []

    def run() -> None:
        try:
            make_dataset(setting.spec, setting.root, engine=engine)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while setting.desk.created < 3:
        thread.join(0.05)
        assert thread.is_alive()
    engine.close()
    thread.join(30)
    assert not thread.is_alive()
    assert len(ended) == 1
    assert Counter(type(error).__name__ for error in ended).keys() <= {"EngineError", "DatasetError"}
