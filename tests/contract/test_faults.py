"""Every fault of a server, one by one: what is tried again, what is recorded, what stops the run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.contract.asking import made, only, opened, requests

from latentext.engines.server.standin import Fault, StandIn
from latentext.errors import BudgetError, CredentialsError, EngineError, LatentextError, SpecError
from latentext.request import Completion, Failure


@pytest.mark.parametrize(
    ("fault", "error", "exit_code", "words"),
    [
        (Fault.bad_key(), CredentialsError, 2, "OPENAI_API_KEY"),
        (Fault.forbidden(), CredentialsError, 2, "insufficient permissions"),
        (Fault.no_model(), SpecError, 2, "does not exist"),
        (Fault.no_quota(), BudgetError, 3, "quota"),
        (Fault.unsupported("temperature"), SpecError, 2, "temperature"),
        (Fault.too_many(retry_after=3600), BudgetError, 3, "3,600 s"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_what_every_request_would_meet_stops_the_run_at_once(
    tmp_path: Path, fault: Fault, error: type[LatentextError], exit_code: int, words: str
) -> None:
    with StandIn(faults=lambda number, body: fault) as server, opened(server, tmp_path / "j") as engine:
        with pytest.raises(error, match=words) as stopped:
            made(engine, requests(50))
        with pytest.raises(error):  # What comes after it meets the same, and is not sent.
            made(engine, requests(1, first=50))
        assert type(stopped.value) is error
        assert stopped.value.exit_code == exit_code
        assert len(server.asked) <= 4  # The first window; nothing was tried again.
        assert engine.spent.answers == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault.too_many(),
        Fault.too_many(retry_after=0.01),
        Fault.failing(500),
        Fault.failing(503),
        Fault.bad_gateway(),
        Fault.dropped(),
        Fault.cut(),
        Fault.malformed(),
    ],
    ids=lambda fault: fault.name,
)
def test_what_passes_by_itself_is_tried_again(tmp_path: Path, fault: Fault) -> None:
    outcome, server, spent = only([fault, fault], tmp_path / "j")
    assert isinstance(outcome, Completion)
    assert [asked.fault for asked in server.asked] == [fault.name, fault.name, ""]
    assert spent.answers == 1


@pytest.mark.parametrize("fault", [Fault.hanging(), Fault.dripping()], ids=lambda fault: fault.name)
def test_an_answer_that_is_not_whole_in_time_is_given_up_and_asked_for_again(tmp_path: Path, fault: Fault) -> None:
    outcome, server, spent = only([fault], tmp_path / "j", timeout=0.5)
    assert isinstance(outcome, Completion)
    assert len(server.asked) == 2
    assert spent.uncertain_tokens > 0  # It may have been billed.


@pytest.mark.parametrize(
    ("fault", "reason", "may_have_cost"),
    [
        (Fault.too_many(), "rate-limited", False),
        (Fault.failing(500), "server-error", True),
        (Fault.dropped(), "network", True),
        (Fault.malformed(), "server-error", True),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_after_the_last_try_the_failure_is_recorded_and_the_others_go_on(
    tmp_path: Path, fault: Fault, reason: str, may_have_cost: bool
) -> None:
    def one_bad(number: int, body: Any) -> Fault | None:
        return fault if body["messages"][0]["content"] == "Prompt 1" else None

    with StandIn(faults=one_bad) as server, opened(server, tmp_path / "j") as engine:
        outcomes = made(engine, requests(4))
        spent = engine.spent
    assert [type(outcome) for outcome in outcomes] == [Completion, Failure, Completion, Completion]
    assert isinstance(outcomes[1], Failure) and outcomes[1].reason == reason
    assert sum(asked.prompt == "Prompt 1" for asked in server.asked) == 3
    assert (spent.uncertain_tokens > 0) is may_have_cost


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.no_choice(), "no-choice"),
        (Fault.null_content(), "no-text"),
        (Fault.refusal(), "refused"),
        (Fault.filtered(), "content-filter"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_an_answer_without_a_text_is_a_failure_that_was_paid_and_is_not_asked_for_again(
    tmp_path: Path, fault: Fault, reason: str
) -> None:
    outcome, server, spent = only([fault], tmp_path / "j")
    assert isinstance(outcome, Failure)
    assert outcome.reason == reason
    assert spent.answers == 1 and spent.cost > 0
    with opened_again(server, tmp_path) as engine:
        assert made(engine, requests(1)) == [outcome]
    assert len(server.asked) == 1


def opened_again(server: StandIn, folder: Path) -> Any:
    """An engine whose server is gone: all that it gives comes from the journal."""
    return opened(server, folder / "j")


def test_a_request_that_is_too_long_or_refused_for_its_content_fails_by_itself(tmp_path: Path) -> None:
    policy = Fault.error(400, "Your request was rejected", code="content_policy_violation")
    with StandIn(faults=[Fault.too_long()]) as server, opened(server, tmp_path / "j", concurrency=1) as engine:
        first, second = made(engine, requests(2))
    assert isinstance(first, Failure) and first.reason == "prompt-too-long"
    assert isinstance(second, Completion)
    outcome, _, spent = only([policy], tmp_path / "k")
    assert isinstance(outcome, Failure) and outcome.reason == "content-filter"
    assert spent.answers == 0


def test_a_text_that_was_cut_at_the_limit_says_so(tmp_path: Path) -> None:
    outcome, _, _ = only([Fault.length()], tmp_path / "j")
    assert isinstance(outcome, Completion)
    assert outcome.finish_reason == "length"


def test_without_usage_the_text_is_kept_and_the_worst_case_counts(tmp_path: Path) -> None:
    outcome, _, spent = only([Fault.no_usage()], tmp_path / "j")
    assert isinstance(outcome, Completion)
    assert outcome.usage is None
    assert (spent.answers, spent.tokens) == (1, 0)
    assert spent.uncertain_tokens > 8
    assert spent.uncertain_cost > 0


def test_a_wait_that_the_server_asks_for_is_kept(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome, server, _ = only([Fault.too_many(retry_after=0.4)], tmp_path / "j")
    assert isinstance(outcome, Completion)
    assert time.monotonic() - started >= 0.4
    assert len(server.asked) == 2


def test_a_server_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    with StandIn() as server:
        pass
    with (
        opened(server, tmp_path / "j", max_tries=2) as engine,
        pytest.raises(EngineError, match="no connection to 127"),
    ):
        made(engine, requests(50))


def test_a_server_that_fails_every_request_stops_the_run_before_all_have_failed(tmp_path: Path) -> None:
    down = Fault.failing(503)
    with (
        StandIn(faults=lambda number, body: down) as server,
        opened(server, tmp_path / "j", max_tries=1) as engine,
        pytest.raises(EngineError, match="8 requests in a row failed"),
    ):
        made(engine, requests(200))
    assert len(server.asked) < 20
