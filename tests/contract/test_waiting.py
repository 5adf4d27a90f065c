"""A server that fails for a while: what waits and for what is said while it lasts, and what is safe when it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.asking import made, requests
from tests.contract.test_runs import run, spec_file

from latentext.cli.app import exit_code
from latentext.engines.server import delays, sender
from latentext.engines.server.engine import OpenAIEngine
from latentext.engines.server.standin import Fault, StandIn
from latentext.run.status import status
from latentext.spec import ApiOptions, ModelSpec
from latentext.spec.limits import Limits


@pytest.fixture
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is said without the seconds in which a person would not miss it."""
    monkeypatch.setattr(delays, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(delays, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(sender, "_WATCH_SECONDS", 0.01)


@pytest.mark.usefixtures("told_at_once")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.error(500, "oops"), 'the server answered with error 500 ("oops")'),
        (Fault.error(503, ""), "the server answered with error 503"),
        (Fault.error(429, "slow down"), 'the server answered with error 429 ("slow down")'),
        (Fault.hanging(0.3), "the server has not answered for 0 s"),
        (Fault.dropped(), "the server closed the connection without an answer"),
        (Fault.cut(), "the connection broke in the middle of the answer"),
        (Fault.malformed(), "the server's answer cannot be used (an answer of 50 bytes is no JSON: "),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_what_requests_wait_for_is_said_until_the_server_answers(tmp_path: Path, fault: Fault, words: str) -> None:
    said: list[str | None] = []
    options = ApiOptions(max_tries=9, concurrency=1)
    with StandIn(faults=[None, fault]) as server:
        model = ModelSpec(name="m", engine="openai", api=options.model_copy(update={"base_url": server.url}))
        engine = OpenAIEngine(model, journal=tmp_path / "j", limits=Limits(), on_wait=said.append, first_wait=0.1)
        try:
            assert len(made(engine, requests(3))) == 3
        finally:
            engine.close()
    lines = [line for line in said if line is not None]
    assert any(words in line for line in lines), lines
    assert all(" wait" in line for line in lines)
    assert said[-1] is None


def test_a_server_that_fails_for_good_ends_in_what_it_said_what_is_safe_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"

    def from_the_fifth_on(number: int, body: Any) -> Fault | None:
        return Fault.error(500, "oops") if number >= 5 and not healed else None

    healed = False
    with StandIn(faults=from_the_fifth_on) as server:
        spec = spec_file(tmp_path, server, count=40, shard_size=40)
        one_try = ("-o", str(root), "--set", "model.api.max_tries=1")
        assert run(spec, *one_try) == 1
        said = capsys.readouterr().err
        assert 'the server answered with error 500 ("oops"); 8 requests in a row failed, each after 1 try;' in said
        assert "kept: 0 of 40 texts; 5 answers of the server wait in the journal and are not paid again." in said
        assert exit_code(["status", str(root)]) == 0
        said = capsys.readouterr().out
        assert "0 of 40 texts finished, 40 pending" in said
        assert "5 answers of the server wait in the journal until their shard is written; they are not paid" in said
        healed = True
        assert run(spec, *one_try) == 0
    assert max(server.billed().values()) == 1


def test_answers_in_a_journal_elsewhere_are_counted_as_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StandIn(faults=lambda number, body: Fault.error(500, "oops") if number >= 3 else None) as server:
        spec = spec_file(tmp_path, server, count=30, shard_size=30)
        elsewhere = ("--journal", str(tmp_path / "elsewhere.sqlite"), "--set", "model.api.max_tries=1")
        assert run(spec, "-o", str(tmp_path / "data"), *elsewhere) == 1
    assert "3 answers of the server wait in the journal" in capsys.readouterr().err


def test_the_log_says_of_every_try_why_it_failed_and_when_the_next_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StandIn(faults=[Fault.error(500, "oops")]) as server:
        spec = spec_file(tmp_path, server, count=1)
        assert exit_code(["--log-level", "info", "run", spec, "-o", str(tmp_path / "data")]) == 0
    assert (
        'request 0: the server answered with error 500 ("oops"); try 1 of 2, the next in 1 s' in capsys.readouterr().err
    )


def test_status_says_what_a_run_at_work_waits_for(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with StandIn() as server:
        assert run(spec_file(tmp_path, server), "-o", str(root)) == 0
    path = root / "status.json"
    left = json.loads(path.read_text()) | {"waits": "6 requests wait: the server answered with error 500"}
    path.write_text(json.dumps(left))
    assert "6 requests wait" not in str(status(root))  # Nobody is at work: it is what a killed run left.
    from latentext.storage.lease import Leases

    leases = Leases(root)
    with leases.take("records/s0000-0000/00000"):
        assert "6 requests wait: the server answered with error 500" in str(status(root))
    leases.close()
