"""A server that is not there, at first or in the middle: it ends the run soon, costs nothing, and is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.contract.asking import DECODING, made, opened, requests
from tests.contract.test_runs import run, spec_file
from tests.engines.batch.made import PatientClock

import latentext
from latentext.cli.app import exit_code
from latentext.engines.batch.engine import BatchEngine
from latentext.engines.server.engine import OpenAIEngine
from latentext.engines.server.journal import Journal, read_spend, read_waiting
from latentext.engines.server.spend import Spend
from latentext.engines.server.standin import Fault, StandIn
from latentext.engines.server.standin.batches import BatchDesk
from latentext.errors import EngineError, LatentextError
from latentext.spec import ApiOptions, ModelSpec
from latentext.spec.limits import Limits

CAP = Limits(max_tokens_total=260)


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def asked(url: str, journal: Path, engine: str = "openai") -> LatentextError:
    """The error that ends a run by a server at this address."""
    options = ApiOptions(base_url=url, prices="openai", max_tries=6)
    model = ModelSpec(name="gpt-4o", engine=engine, api=options)  # type: ignore[arg-type]
    opened = (
        OpenAIEngine(model, journal=journal, limits=CAP, first_wait=0.001)
        if engine == "openai"
        else BatchEngine(model, journal=journal, limits=CAP, clock=PatientClock().clock)
    )
    try:
        with pytest.raises(LatentextError) as stopped:
            list(opened.generate(requests(3), range(1), DECODING, 0))
        return stopped.value
    finally:
        opened.close()


def costs_nothing(journal: Path) -> bool:
    with Journal(journal) as opened:
        return opened.promised() == (0, 0) and read_spend(journal) == Spend()


@pytest.mark.parametrize("engine", ["openai", "openai-batch"])
def test_where_nobody_listens_the_run_stops_names_the_address_and_costs_nothing(tmp_path: Path, engine: str) -> None:
    url = nobody()
    error = asked(url, tmp_path / "j", engine)
    assert f"no connection to {url[7:-3]}: connection refused" in str(error)
    assert error.exit_code == 1
    assert costs_nothing(tmp_path / "j")


@pytest.mark.parametrize("engine", ["openai", "openai-batch"])
def test_a_host_that_does_not_exist_is_named(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # No test asks a name server.
    error = asked("http://no-such-host.invalid:8799/v1", tmp_path / "j", engine)
    assert "no connection to no-such-host.invalid:8799: there is no host of this name" in str(error)
    assert costs_nothing(tmp_path / "j")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openai", "openai-batch"])
def test_a_server_that_does_not_speak_tls_is_named_and_costs_nothing(tmp_path: Path, engine: str) -> None:
    with StandIn() as server:
        error = asked(server.url.replace("http:", "https:"), tmp_path / "j", engine)
    assert "no connection to 127.0.0.1" in str(error)
    assert costs_nothing(tmp_path / "j")


@pytest.mark.slow
def test_a_run_that_is_killed_while_nobody_listens_leaves_no_promise(tmp_path: Path) -> None:
    """The host takes no connection and refuses none, so the run is looking for it when it is killed."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # The queue of those that wait to be taken is full.
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        code = (
            "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
            "from tests.contract.test_unreachable import asked\n"
            "print('ready', flush=True); asked(sys.argv[1], Path(sys.argv[2]))"
        )
        url, root = f"http://127.0.0.1:{address[1]}/v1", Path(__file__).parents[2]
        words = [sys.executable, "-c", code, url, str(tmp_path / "j"), str(root)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for each in waiting:
            each.close()
    assert costs_nothing(tmp_path / "j")


def test_what_is_under_way_when_a_run_is_killed_counts_and_nothing_else(tmp_path: Path) -> None:
    hanging = Fault.hanging(60)
    with StandIn(faults=lambda number, body: hanging if number >= 6 else None) as server:
        if not (process := os.fork()):
            try:
                options = ApiOptions(base_url=server.url, prices="openai", concurrency=3)
                model = ModelSpec(name="gpt-4o", engine="openai", api=options)
                engine = OpenAIEngine(model, journal=tmp_path / "j", limits=Limits())
                list(engine.generate(requests(40), range(1), DECODING, 0))
            finally:
                os._exit(1)
        while len(server.asked) < 9:
            time.sleep(0.01)
        time.sleep(0.3)
        assert len(server.asked) == 9
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    with opened(server, tmp_path / "j") as again:
        assert again.spent.answers == read_waiting(tmp_path / "j") == 6
        assert 3 * 48 <= again.spent.uncertain_tokens <= 5 * 48


def test_a_run_whose_server_was_not_there_goes_on_when_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StandIn() as server:
        port = int(server.url.rsplit(":")[-1][:-3])
        spec = spec_file(tmp_path, server)
    words = (spec, "-o", str(tmp_path / "data"), "--max-tokens-total", "500")
    assert run(*words) == 1
    assert f"no connection to 127.0.0.1:{port}: connection refused" in capsys.readouterr().err
    assert exit_code(["status", str(tmp_path / "data")]) == 0
    assert f"the last run stopped: no connection to 127.0.0.1:{port}" in capsys.readouterr().out
    with StandIn(port=port) as server:
        assert run(*words) == 0
    assert exit_code(["status", str(tmp_path / "data")]) == 0
    assert "stopped" not in capsys.readouterr().out
    assert len(server.asked) == 6


def test_an_address_that_is_corrected_is_accepted_and_what_was_answered_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    with StandIn() as server:
        spec = spec_file(tmp_path, server, shard_size=6)
        assert run(spec, "-o", str(root), "--max-tokens-total", "100") == 3
        before = len(server.asked)
        assert read_waiting(root / "journal.sqlite") > 0
        wrong = ("--set", f"model.api.base_url={nobody()}")
        assert run(spec, "-o", str(root), "--max-tokens-total", "500", *wrong) == 1
        capsys.readouterr()
        assert exit_code(["status", str(root)]) == 0
        said = capsys.readouterr().out
        assert "in the journal until their shard is written" in said and "connection refused" in said
        assert run(spec, "-o", str(root), "--max-tokens-total", "500") == 0
    assert 0 < before < len(server.asked) == 6
    assert latentext.open_dataset(root).records().num_rows == 6


def test_a_server_that_stops_in_the_middle_ends_the_run_and_keeps_its_answers(tmp_path: Path) -> None:
    def slowly(number: int, body: object) -> Fault | None:
        return Fault.hanging(0.02)

    with ExitStack() as running:
        server = running.enter_context(StandIn(faults=slowly))
        port = int(server.url.rsplit(":")[-1][:-3])
        with opened(server, tmp_path / "j", concurrency=2) as engine:
            results = engine.generate(requests(200), range(1), DECODING, 0)
            kept = [next(results) for _ in range(10)]
            running.close()
            with pytest.raises(EngineError, match=rf"no connection to 127\.0\.0\.1:{port}.*what was answered is kept"):
                kept += list(results)
        sent = len(server.asked)
    answers = read_waiting(tmp_path / "j")
    assert len(kept) <= answers <= sent
    spend = read_spend(tmp_path / "j")
    assert spend is not None and spend.uncertain_tokens <= 2 * 50
    with StandIn(port=port) as back, opened(back, tmp_path / "j") as engine:
        assert len(made(engine, requests(200))) == 200
    assert len(back.asked) == 200 - answers


def test_batches_that_are_at_another_server_are_not_given_up_when_the_address_changes(tmp_path: Path) -> None:
    def asking(url: str) -> None:
        options = ApiOptions(base_url=url, prices="openai")
        model = ModelSpec(name="gpt-4o", engine="openai-batch", api=options)
        engine = BatchEngine(model, journal=tmp_path / "j", limits=Limits(), clock=PatientClock().clock)
        try:
            assert len(list(engine.generate(requests(3), range(1), DECODING, 0))) == 3
        finally:
            engine.close()

    with StandIn() as server, StandIn() as other:
        desk = BatchDesk(server)
        desk.faults = desk.faults.__class__(short_downloads=99)
        BatchDesk(other)
        with pytest.raises(EngineError, match="incomplete"):
            asking(server.url)
        with pytest.raises(LatentextError, match=r"were sent to .* and are not done"):
            asking(other.url)
        desk.faults = desk.faults.__class__()
        asking(server.url)
        assert desk.created == 1
