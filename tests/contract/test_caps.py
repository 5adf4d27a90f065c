"""Caps against what the server bills: in real time, in batches and in proposals by batch, whatever its answers say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.contract import bills
from tests.contract.asking import made, only, opened, requests
from tests.engines.batch.made import PatientClock, workspace

from latentext.engines.batch.costs import Caps, spent_on
from latentext.engines.batch.engine import BatchEngine
from latentext.engines.batch.remote import open_remote
from latentext.engines.batch.workflow import Conditions, run_batches
from latentext.engines.server.journal import read_spend, read_waiting
from latentext.engines.server.prices import shipped_prices
from latentext.engines.server.spend import Spend
from latentext.engines.server.standin import Fault, StandIn
from latentext.engines.server.standin.batch_faults import BatchFaults
from latentext.engines.server.standin.batches import BatchDesk
from latentext.errors import BudgetError, EngineError
from latentext.request import Completion
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits

MONEY = Limits(max_cost=Decimal("0.0012"))
"""Twelve requests of `ASKED` cost at most 0.0026 dollars as batches."""
ASKED = Decoding(max_new_tokens=30)

NONSENSE: dict[str, Any] = {
    "none": None,
    "a list": [],
    "half": {"prompt_tokens": 5},
    "huge": {"prompt_tokens": 2**80, "completion_tokens": 1},
    "huge, of the text": {"prompt_tokens": 5, "completion_tokens": 10**30},
    "infinite": {"prompt_tokens": 1e999, "completion_tokens": 1},
    "not a number": {"prompt_tokens": float("nan"), "completion_tokens": 1},
    "fractional": {"prompt_tokens": 5.5, "completion_tokens": 1},
    "negative": {"prompt_tokens": 5, "completion_tokens": -3},
    "strings": {"prompt_tokens": "5", "completion_tokens": "1"},
    "booleans": {"prompt_tokens": True, "completion_tokens": False},
    "cached above prompt": {
        "prompt_tokens": 5,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 6},
    },
    "cached is a text": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": "4"}},
    "details are a list": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": [4]},
    "nothing": {"prompt_tokens": 0, "completion_tokens": 0},
    "a text of no tokens": {"prompt_tokens": 5, "completion_tokens": 0},
}


def batched(server: StandIn, folder: Path, limits: Limits, count: int = 12, shard: int = 3) -> Spend:
    """Ask for so many texts by batches, shard by shard; returns what was spent. Raises what ends the run."""
    options = ApiOptions(base_url=server.url, prices="openai")
    model = ModelSpec(name="gpt-4o", engine="openai-batch", api=options)
    engine = BatchEngine(model, journal=folder / "j", limits=limits, clock=PatientClock().clock)
    try:
        for first in range(0, count, shard):
            list(engine.generate(requests(shard, first), range(1), ASKED, 0))
        return engine.spent
    finally:
        engine.close()


@pytest.mark.parametrize("usage", NONSENSE)
def test_a_usage_that_cannot_be_counts_at_the_bound_and_the_text_is_kept(tmp_path: Path, usage: str) -> None:
    outcome, _, spent = only([Fault.edited("odd", {"usage": NONSENSE[usage]})], tmp_path / "j")
    assert isinstance(outcome, Completion) and outcome.text
    bound = len("Prompt 0") + 2 * 16 + 8
    assert (spent.answers, spent.tokens, spent.uncertain_tokens) == (1, 0, bound)
    assert str(spent).startswith(f"up to {bound} tokens, up to 0.0002 USD")


def test_whole_numbers_that_are_written_as_fractions_count(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 5.0, "completion_tokens": 1.0, "prompt_tokens_details": {"cached_tokens": 2.0}}
    outcome, _, spent = only([Fault.edited("floats", {"usage": usage})], tmp_path / "j")
    assert isinstance(outcome, Completion) and outcome.usage is not None
    assert (outcome.usage.prompt_tokens, outcome.usage.cached_tokens, outcome.usage.completion_tokens) == (5, 2, 1)
    assert (spent.tokens, spent.uncertain_tokens) == (6, 0)


@pytest.mark.parametrize("usage", ["none", "huge", "negative", "nothing"])
def test_a_cap_on_tokens_holds_for_a_server_that_does_not_count(tmp_path: Path, usage: str) -> None:
    odd = Fault.edited("odd", {"usage": NONSENSE[usage]})
    limits = Limits(max_tokens_total=260)
    with (
        StandIn(faults=lambda number, body: odd) as server,
        opened(server, tmp_path / "j", limits) as engine,
        pytest.raises(BudgetError, match="at most 240 in doubt, 20 left"),
    ):
        made(engine, requests(12))
    assert len(server.asked) == 5  # 48 tokens at most each.
    assert bills.tokens(server.bill()) <= 260
    assert read_waiting(tmp_path / "j") == 5


@pytest.mark.parametrize("usage", ["none", "huge", "negative", "nothing"])
def test_a_cap_on_tokens_holds_in_batches_for_a_server_that_does_not_count(tmp_path: Path, usage: str) -> None:
    with StandIn() as server:
        desk = BatchDesk(server, BatchFaults(edit={"usage": NONSENSE[usage]}))
        with pytest.raises(BudgetError, match="210 in doubt"):
            batched(server, tmp_path, Limits(max_tokens_total=260))
    assert len(desk.bill) == 3  # 70 tokens at most each, in shards of three.
    assert bills.tokens(desk.bill) <= 260
    assert read_waiting(tmp_path / "j") == 3


@pytest.mark.parametrize("spoiled", ["", "missing", "no body", "broken", "500"])
def test_a_cap_on_money_holds_in_batches_whatever_comes_back(tmp_path: Path, spoiled: str) -> None:
    faults = BatchFaults(edit={"usage": None}) if not spoiled else BatchFaults(spoiled=spoiled)  # type: ignore[arg-type]
    with StandIn() as server:
        desk = BatchDesk(server, faults)
        with pytest.raises(BudgetError, match="--max-cost"):
            batched(server, tmp_path, MONEY)
        assert 0 < bills.dollars(desk.bill, batch=True) <= MONEY.max_cost  # type: ignore[operator]
        sent = len(desk.bill)
        with pytest.raises(BudgetError):  # The same command sends nothing more.
            batched(server, tmp_path, MONEY)
        assert len(desk.bill) == sent
    spend = read_spend(tmp_path / "j")
    assert spend is not None and 0 < spend.uncertain_cost <= MONEY.max_cost  # type: ignore[operator]
    assert "up to 0.00" in str(spend)


@pytest.mark.parametrize("spoiled", ["missing", "no body", "broken", "500"])
def test_without_a_cap_lost_lines_are_asked_again_and_each_try_counts(tmp_path: Path, spoiled: str) -> None:
    with StandIn() as server:
        desk = BatchDesk(server, BatchFaults(spoiled=spoiled))  # type: ignore[arg-type]
        spend = batched(server, tmp_path, Limits())
    assert len(desk.bill) == 36  # Three tries each.
    assert (spend.answers, spend.uncertain_tokens) == (0, 3 * (10 * 70 + 2 * 71))
    assert bills.dollars(desk.bill, batch=True) <= spend.uncertain_cost
    assert bills.tokens(desk.bill) <= spend.uncertain_tokens


@pytest.mark.parametrize("spoiled", ["", "missing", "no body", "broken", "500"])
def test_a_cap_on_money_holds_for_request_files_whatever_comes_back(tmp_path: Path, spoiled: str) -> None:
    """The folders of proposals by batch: `latentext batch run`."""
    faults = BatchFaults(edit={"usage": None}) if not spoiled else BatchFaults(spoiled=spoiled)  # type: ignore[arg-type]
    cap, clock = Decimal("0.0009"), PatientClock().clock
    place = workspace(tmp_path, requests=12, per_file=3)
    with StandIn() as server, place.alone():
        desk = BatchDesk(server, faults)
        conditions = Conditions(afford=Caps(place, Limits(max_cost=cap), shipped_prices()))
        with pytest.raises(BudgetError, match="--max-cost"):
            run_batches(place, place.ledger(), open_remote(server.url, clock), clock, print, conditions)
    spend = spent_on(place, place.ledger().parts, shipped_prices())
    assert 0 < bills.dollars(desk.bill, batch=True) <= spend.uncertain_cost <= cap
    assert str(spend).startswith("up to ")


def test_a_batch_under_way_counts_at_its_bound_for_every_dataset_of_the_journal(tmp_path: Path) -> None:
    with StandIn() as server:
        desk = BatchDesk(server, BatchFaults(short_downloads=99))
        with pytest.raises(EngineError, match="incomplete"):
            batched(server, tmp_path, Limits(max_tokens_total=260), count=3)
        spend = read_spend(tmp_path / "j")
        assert spend is not None and (spend.answers, spend.uncertain_tokens) == (0, 210)
        with (
            opened(server, tmp_path / "j", Limits(max_tokens_total=260)) as engine,
            pytest.raises(BudgetError, match="at most 210 in doubt"),
        ):
            made(engine, requests(12, first=100))
        assert bills.tokens(desk.bill) + bills.tokens(server.bill()) <= 260
        desk.faults = BatchFaults()
        known = batched(server, tmp_path, Limits(max_tokens_total=260), count=3)
    assert known.answers == 4 and known.uncertain_tokens == 0
    assert known.tokens == bills.tokens(desk.bill) + bills.tokens(server.bill())


@pytest.mark.parametrize("engine", ["openai", "openai-batch"])
def test_a_server_that_writes_more_than_it_may_stops_the_run_at_once(tmp_path: Path, engine: str) -> None:
    edit = {"usage.completion_tokens": 3000}
    with StandIn(faults=lambda number, body: Fault.edited("overrun", edit)) as server:
        desk = BatchDesk(server, BatchFaults(edit=edit))
        with pytest.raises(EngineError, match=r"3,000 tokens where (8|30) were allowed") as stopped:
            if engine == "openai":
                with opened(server, tmp_path / "j") as live:
                    made(live, requests(100))
            else:
                batched(server, tmp_path, Limits())
        assert server.url in str(stopped.value) and stopped.value.exit_code == 1
        assert len(server.asked) + len(desk.bill) <= 4
    spend = read_spend(tmp_path / "j")
    assert spend is not None and spend.completion_tokens == 3000 * spend.answers > 0
    assert read_waiting(tmp_path / "j") == spend.answers  # Paid, and kept.


def test_words_that_a_server_puts_before_the_prompt_are_set_aside_once_they_are_known(tmp_path: Path) -> None:
    own = Fault.edited("own words", {"usage.prompt_tokens": 200})
    with (
        StandIn(faults=lambda number, body: own) as server,
        opened(server, tmp_path / "j", Limits(max_tokens_total=1000), concurrency=1) as engine,
        pytest.raises(BudgetError),
    ):
        made(engine, requests(12))
    assert 3 <= engine.spent.answers <= 4
    assert engine.spent.tokens <= 1000


def test_a_request_that_the_server_failed_at_counts_at_its_bound_in_real_time_too(tmp_path: Path) -> None:
    failing = Fault("500, and billed", 500, b'{"error": {"message": "oops"}}', billed=True)
    with (
        StandIn(faults=lambda number, body: failing) as server,
        opened(server, tmp_path / "j", Limits(max_tokens_total=260)) as engine,
        pytest.raises(BudgetError),
    ):
        made(engine, requests(12))
    assert 0 < bills.tokens(server.bill()) <= 260
