"""What is sent and when: concurrency, caps, keys, and calls that end before their answers."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import pytest
from tests.contract.asking import DECODING, made, opened, requests

from latentext.engines.server.journal import Journal, read_waiting
from latentext.engines.server.pace import Pace
from latentext.engines.server.standin import Fault, StandIn
from latentext.errors import BudgetError, EngineError
from latentext.request import Completion, Request
from latentext.spec.limits import Limits


def test_as_many_requests_are_in_flight_as_were_asked_for_and_no_more(tmp_path: Path) -> None:
    with StandIn(delay=0.5) as server, opened(server, tmp_path / "j", concurrency=12) as engine:
        assert len(made(engine, requests(40))) == 40
    assert 4 < server.most_at_once <= 12  # More than the first window, also on a machine that is busy.


def test_shards_in_threads_of_their_own_get_their_own_answers(tmp_path: Path) -> None:
    found: dict[int, list[int]] = {}
    with StandIn(delay=0.005) as server, opened(server, tmp_path / "j") as engine:

        def shard(number: int) -> None:
            found[number] = [o.index for o in made(engine, requests(20, first=20 * number))]

        threads = [threading.Thread(target=shard, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: list(range(20 * n, 20 * n + 20)) for n in range(4)}
    assert set(server.billed().values()) == {1}


def test_samples_of_a_prompt_are_asked_for_with_seeds_of_their_own(tmp_path: Path) -> None:
    with StandIn() as server, opened(server, tmp_path / "j") as engine:
        outcomes = made(engine, requests(1), samples=3)
    assert len({outcome.text for outcome in outcomes if isinstance(outcome, Completion)}) == 3
    assert len({asked.body["seed"] for asked in server.asked}) == 3


def test_a_request_without_a_message_fails_and_nothing_is_sent(tmp_path: Path) -> None:
    with StandIn() as server, opened(server, tmp_path / "j") as engine:
        (outcome,) = made(engine, [Request(0, "k", {}, [], "", ())])
    assert outcome.reason == "empty-prompt"  # type: ignore[union-attr]
    assert not server.asked


def test_a_cap_on_tokens_is_never_exceeded_and_a_higher_one_goes_on_without_paying_twice(tmp_path: Path) -> None:
    with StandIn(delay=0.002) as server:
        with (
            opened(server, tmp_path / "j", Limits(max_tokens_total=600)) as engine,
            pytest.raises(BudgetError, match="--max-tokens-total") as stopped,
        ):
            made(engine, requests(100))
        spent = engine.spent
        assert stopped.value.exit_code == 3
        assert 0 < spent.tokens <= 600
        assert spent.answers == len(server.asked) < 100  # What was sent was awaited and kept.
        with opened(server, tmp_path / "j", Limits(max_tokens_total=100_000)) as engine:
            assert len(made(engine, requests(100))) == 100
        assert set(server.billed().values()) == {1}


def test_a_cap_on_money_holds_even_if_every_text_is_as_long_as_it_may_be(tmp_path: Path) -> None:
    cap = Decimal("0.004")
    with (
        StandIn(faults=lambda number, body: Fault.edited("dear", {"usage.completion_tokens": 8})) as server,
        opened(server, tmp_path / "j", Limits(max_cost=cap)) as engine,
    ):
        with pytest.raises(BudgetError, match="--max-cost"):
            made(engine, requests(200))
        cost = engine.spent.cost
        assert cost is not None and cap * Decimal("0.5") < cost <= cap
        assert len(server.asked) == engine.spent.answers


def test_a_call_that_is_left_sends_nothing_more_and_keeps_what_was_on_its_way(tmp_path: Path) -> None:
    with StandIn(delay=0.05) as server:
        with opened(server, tmp_path / "j") as engine:
            results = engine.generate(requests(100), range(1), DECODING, 0)
            next(results)
            results.close()
        sent = len(server.asked)
        assert sent < 50
        assert read_waiting(tmp_path / "j") == sent
        with Journal(tmp_path / "j") as journal:
            assert journal.promised() == (0, 0)


def test_closing_the_engine_ends_calls_that_wait_in_other_threads(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def wait(number: int) -> None:
        try:
            made(engine, requests(5, first=5 * number))
        except EngineError as error:
            errors.append(error)

    hanging = Fault.hanging(60)
    with StandIn(faults=lambda number, body: hanging) as server:
        with opened(server, tmp_path / "j") as engine:
            threads = [threading.Thread(target=wait, args=[number]) for number in range(3)]
            for thread in threads:
                thread.start()
            while len(server.asked) < 4:
                threading.Event().wait(0.01)
        for thread in threads:
            thread.join(10)
        assert len(errors) == 3


def test_texts_that_are_committed_leave_the_journal(tmp_path: Path) -> None:
    with StandIn() as server:
        with opened(server, tmp_path / "j") as engine:
            made(engine, requests(5))
            engine.committed(requests(3), range(1))
        assert read_waiting(tmp_path / "j") == 2
        with Journal(tmp_path / "j") as journal:
            assert journal.spend().answers == 5
        with opened(server, tmp_path / "j") as engine:
            assert len(made(engine, requests(5)[3:])) == 2
        assert len(server.asked) == 5


@pytest.mark.parametrize("key", [None, "invented-key-0123"])
def test_a_server_of_ones_own_gets_the_key_that_is_set_or_a_placeholder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with StandIn() as server, opened(server, tmp_path / "j") as engine:
        made(engine, requests(1))
    assert server.asked[0].headers["authorization"] == f"Bearer {key or 'no-key'}"


def test_a_key_is_found_in_a_dotenv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=invented-key-0123\n")
    monkeypatch.chdir(tmp_path)
    with StandIn(key="invented-key-0123") as server, opened(server, tmp_path / "j") as engine:
        assert len(made(engine, requests(1))) == 1


def test_the_window_doubles_then_halves_on_a_refusal_and_recovers_slowly() -> None:
    pace = Pace(concurrency=64, first_wait=1.0)
    for window in (4, 8, 16):
        assert pace.window == window
        for _ in range(window):
            pace.sent(now=0.0)
        assert pace.wait(0.0) is None
        for _ in range(window):
            pace.answered()
    assert pace.window == 32
    for _ in range(32):
        pace.sent(now=10.0)
    for _ in range(3):  # Refusals of one round cut once.
        pace.refused(5.0, sent_at=10.0, now=11.0)
    assert pace.window == 16
    for _ in range(29):
        pace.answered()
    assert pace.window == 17
    assert pace.wait(12.0) == pytest.approx(4.0)
    assert pace.wait(16.0) == 0.0
    for tries, low, high in ((1, 0.75, 1.25), (3, 3.0, 5.0), (30, 45.0, 75.0)):
        assert low <= pace.backoff(tries) <= high


def test_limits_a_minute_are_kept_over_time() -> None:
    pace = Pace(concurrency=1000, requests_per_minute=60, tokens_per_minute=6000)
    now, sent = 0.0, 0
    while now < 60.0:
        wait = pace.wait(now)
        assert wait is not None
        if wait == 0.0:
            pace.sent(200, now=now)
            pace.answered(unused_tokens=100)
            sent += 1
        else:
            now += wait
    assert 55 <= sent <= 64  # 100 tokens each: both limits allow 60 a minute, and two seconds' worth at once.
