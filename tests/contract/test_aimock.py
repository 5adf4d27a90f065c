"""Files and batches against a mock that others wrote: our reading of the protocol is not checked by ourselves alone.

``make test-mock`` puts the npm package @copilotkit/aimock into build/aimock (node 20 or newer is needed) and runs this
file; where it is not installed the tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engines.batch.made import PatientClock, tally, workspace

from latentext.cli.app import exit_code
from latentext.engines.batch.ledger import BatchStatus, Ledger
from latentext.engines.batch.polling import cancel
from latentext.engines.batch.remote import Remote
from latentext.engines.batch.submitting import submit
from latentext.engines.batch.workflow import Conditions, run_batches
from latentext.engines.batch.workspace import BatchWorkspace

MOCK = Path(__file__).resolve().parents[2] / "build" / "aimock" / "node_modules" / ".bin" / "llmock"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not MOCK.exists(), reason="no @copilotkit/aimock; make test-mock installs it"
)


@contextmanager
def mock(folder: Path, *options: str) -> Iterator[str]:
    """The mock server in a process of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "fixtures").mkdir(exist_ok=True)
    (folder / "fixtures" / "none.json").write_text('{"fixtures": []}')
    command = ["node", str(MOCK.resolve()), "--port", str(port), "--fixtures", str(folder / "fixtures"), *options]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (folder / "mock.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/files", timeout=5).read()
                break
            except OSError as error:
                if getattr(error, "code", None) is not None:
                    break  # Chaos answers too.
                assert server.poll() is None, (folder / "mock.log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def remote(url: str, clock: PatientClock, **headers: str) -> Remote:
    import openai

    return Remote(openai.OpenAI(api_key="no-key", base_url=url, default_headers=headers), clock.clock)


def run(place: BatchWorkspace, url: str, **headers: str) -> Ledger:
    clock = PatientClock()
    with place.alone():
        told = list[str]()
        return run_batches(place, place.ledger(), remote(url, clock, **headers), clock.clock, told.append, Conditions())


def test_a_full_cycle_answers_every_request(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=7, per_file=3)
    with mock(tmp_path) as url:
        ledger = run(place, url)
        made = remote(url, PatientClock()).batches()
    assert [part.status for part in ledger.parts] == [BatchStatus.COMPLETED] * 3
    assert tally(place) == {"answered": 7}
    assert {batch.tag for batch in made} == {part.tag for part in ledger.parts}
    assert len(made) == 3


@pytest.mark.parametrize("outcome", ["failed", "expired", "cancelled"])
def test_batches_that_end_badly_are_told_apart(tmp_path: Path, outcome: str) -> None:
    place = workspace(tmp_path, requests=2)
    with mock(tmp_path) as url:
        ledger = run(place, url, **{"X-AIMock-Batch-Outcome": outcome})
    assert ledger.settled
    assert ledger.part(0).status == outcome
    attempts = 3 if outcome == "expired" else 1  # Expired ones are worth asking again.
    assert len(ledger.parts) == attempts
    assert tally(place).get("answered", 0) == 0


def test_a_batch_is_cancelled(tmp_path: Path) -> None:
    place, clock = workspace(tmp_path, requests=2), PatientClock()
    with mock(tmp_path) as url:
        with place.alone():
            there = remote(url, clock)
            ledger = submit(place, place.ledger(), there, clock.clock, print)
            assert cancel(place, ledger, there, print).part(0).status is BatchStatus.CANCELLING
        assert run(place, url).part(0).status is BatchStatus.CANCELLED


@pytest.mark.parametrize(
    "chaos", [("--chaos-drop", "0.3"), ("--chaos-disconnect", "0.3"), ("--chaos-ratelimit", "0.3")]
)
def test_a_server_in_chaos_makes_no_batch_twice(tmp_path: Path, chaos: tuple[str, str]) -> None:
    place = workspace(tmp_path, requests=6, per_file=3)
    with mock(tmp_path, *chaos) as url:
        ledger = run(place, url)
        made = remote(url, PatientClock()).batches()
    assert tally(place) == {"answered": 6}
    assert sorted(batch.id for batch in made) == sorted(part.batch_id or "" for part in ledger.parts)


def test_the_command_goes_through_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answers are no pairs, so the counts say so: every reply malformed, no scenario, exit code 1."""
    monkeypatch.chdir(tmp_path)
    with mock(tmp_path) as url:
        words = ["batch", "run", "--base-url", url, "--num-batches", "2", "--requests-per-batch", "2"]
        assert exit_code([*words, "--tokenizer", "tiny"]) == 1
    out = capsys.readouterr().out
    assert "4 requests: 4 answered" in out
    assert "4 replies: 4 malformed" in out
