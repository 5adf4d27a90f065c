"""SIGTERM and SIGINT to real processes: what is finished is kept and published, exit 130, and the run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.processes import finish, in_memory, run, start
from tests.run.made import contents, leftovers, small_spec

from latentext.dataset.verify import verify_files
from latentext.engines.server.standin import Fault, StandIn
from latentext.engines.server.standin.batch_faults import BatchFaults
from latentext.engines.server.standin.batches import BatchDesk
from latentext.spec.files import dump_spec
from latentext.spec.yaml_text import dump_yaml

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def until(happened: Callable[[], object], log: Path, is_alive: Callable[[], bool]) -> None:
    while not happened():
        assert is_alive(), log.read_text()
        time.sleep(0.005)


def receipts(root: Path) -> int:
    return len(list(root.glob("records/*/*.receipt.json")))


@pytest.mark.slow
def test_a_run_over_workers_ends_published_and_goes_on(stories260k: Path, tmp_path: Path) -> None:
    """Ctrl-C on a terminal goes to the workers too, also while they import: here the whole group gets it, twice."""
    decoding = {"min_new_tokens": 60, "max_new_tokens": 60}
    (tmp_path / "spec.yaml").write_text(dump_spec(small_spec(stories260k, counts=8, decoding=decoding)))
    root, log = tmp_path / "data", tmp_path / "log"
    words = ["run", str(tmp_path / "spec.yaml"), "--output", str(root)]
    for seconds in (1.0, None):
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "latentext", *words, "--workers", "2"],
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        alive = lambda: process.poll() is None  # noqa: E731, B023 - called at once
        if seconds is None:
            until(lambda: receipts(root) >= 2, log, alive)
        else:
            until(lambda: workers_of(process.pid), log, alive)  # noqa: B023
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) == 130, log.read_text()
        said = log.read_text()
        assert "Traceback" not in said, said
        assert said.splitlines()[-1].startswith("To go on: latentext run ")
        assert leftovers(root) == []
    done = json.loads((root / "metadata.json").read_text())["counts"]
    assert 0 < done["accepted"] == 2 * receipts(root) < 32
    assert verify_files(root) == []
    assert run(words, log) == 0, log.read_text()
    assert run([*words[:-1], str(tmp_path / "quiet")], log) == 0
    assert contents(root) == contents(tmp_path / "quiet")


def workers_of(driver: int) -> list[int]:
    """The driver's processes that were spawned as workers."""
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    names = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, name in names.items() if b"spawn_main" in name]


@pytest.mark.slow
@pytest.mark.parametrize("sent", SIGNALS)
def test_a_run_that_waits_for_a_server_keeps_the_answers_it_has(tmp_path: Path, sent: signal.Signals) -> None:
    """Four requests hang at the server while the signal comes."""

    def hang(number: int, _body: object) -> Fault | None:
        return Fault.hanging(600) if hanging and number >= 8 else None

    hanging = True
    with in_memory(tmp_path) as folder, StandIn(faults=hang) as server:
        spec, root, log = asked(folder, server, "openai"), folder / "data", tmp_path / "log"
        process = start(["run", spec, "--output", str(root)], log)
        until(lambda: len(server.asked) >= 12, log, process.is_alive)
        assert process.pid is not None
        os.kill(process.pid, sent)
        assert finish(process, 60) == 130, log.read_text()
        *_, kept, go_on = log.read_text().splitlines()
        assert kept == f"Interrupted. Kept in {root}: 0 of 20 texts, and 8 answers, which are not asked for again."
        assert go_on.startswith("To go on: latentext run ")
        assert leftovers(root) == []
        hanging, before = False, len(server.asked)
        assert run(["run", spec, "--output", str(root)], log) == 0, log.read_text()
        assert len(server.asked) - before == 12


@pytest.mark.slow
@pytest.mark.parametrize("sent", SIGNALS)
def test_a_run_that_waits_for_batches_ends_and_finds_them_again(tmp_path: Path, sent: signal.Signals) -> None:
    with in_memory(tmp_path) as folder, StandIn() as server:
        desk = BatchDesk(server, BatchFaults())
        spec, root, log = asked(folder, server, "openai-batch"), folder / "data", tmp_path / "log"
        process = start(["run", spec, "--output", str(root)], log)
        until(lambda: desk.created == 2, log, process.is_alive)
        time.sleep(0.2)
        assert process.pid is not None
        os.kill(process.pid, sent)
        assert finish(process, 60) == 130, log.read_text()
        assert run(["run", spec, "--output", str(root)], log) == 0, log.read_text()
        assert desk.created == 2
        assert set(desk.billed.values()) == {1}


def asked(folder: Path, server: StandIn, engine: str) -> str:
    """A spec of twenty requests in two shards."""
    fields = {
        "name": "asked",
        "model": {"name": "gpt-4o", "engine": engine, "api": {"base_url": server.url, "concurrency": 4}},
        "prompts": {"template": "Say {n}.", "grid": {"n": {"range": [0, 20]}}},
        "decoding": {"max_new_tokens": 12},
        "shard_size": 10,
    }
    if engine == "openai-batch":
        del fields["model"]["api"]["concurrency"]  # type: ignore[index]
    path = folder / "spec.yaml"
    path.write_text(dump_yaml(fields))
    return str(path)
