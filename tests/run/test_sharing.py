"""Several runs in one directory: every shard once, both end well, the dead are succeeded, the living left alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.crash.processes import finish, start
from tests.run.made import commits, contents, leftovers, small_spec

from latentext.cli.app import exit_code
from latentext.engines.transformers.engine import TransformersEngine
from latentext.run.runner import make_dataset
from latentext.run.status import status
from latentext.spec import Spec
from latentext.spec.files import dump_spec
from latentext.storage.lease import EXPIRY_SECONDS, Leases, holders
from latentext.storage.liveness import this_machine


@pytest.fixture
def spec_file(stories260k: Path, tmp_path: Path) -> Path:
    decoding = {"min_new_tokens": 60, "max_new_tokens": 60}
    path = tmp_path / "spec.yaml"
    path.write_text(dump_spec(small_spec(stories260k, counts=6, decoding=decoding)))
    return path


def words(spec_file: Path, name: str = "data") -> list[str]:
    return ["run", str(spec_file), "--output", str(spec_file.parent / name)]


def wait_for(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


@pytest.mark.slow
def test_two_runs_started_together_share_the_work_and_a_killed_one_is_succeeded(
    spec_file: Path, tmp_path: Path
) -> None:
    logs = [tmp_path / f"{n}.log" for n in range(4)]
    assert finish(start(words(spec_file, "quiet"), logs[3])) == 0
    root = tmp_path / "data"
    runs = [start(words(spec_file), log) for log in logs[:3]]
    seen: dict[str, tuple[int, int]] = {}

    def watch() -> None:
        """No receipt that was seen once is ever written again."""
        now = {n: s for n, s in commits(root).items() if n.startswith("records/") and n.endswith(".receipt.json")}
        assert {name: now[name] for name in seen} == seen
        seen.update(now)

    # Between two shards a run holds nothing for a moment: the look that finds all three is waited for.
    wait_for(lambda: {h.process for n, h in holders(root).items() if "/" in n} == {run.pid for run in runs})
    looks = [status(root)]
    wait_for(lambda: len(looks[-1].holders) == 3 or looks.append(status(root)))
    at_work = looks[-1]
    assert {holder.process for holder in at_work.holders.values()} == {run.pid for run in runs}
    assert all(f"process {run.pid} on {socket.gethostname()}, since " in str(at_work) for run in runs)
    assert exit_code([*words(spec_file), "--fresh"]) == 1
    assert runs[0].pid is not None
    os.kill(runs[0].pid, signal.SIGKILL)
    while any(run.is_alive() for run in runs):
        watch()
        time.sleep(0.02)
    assert [finish(run) for run in runs[1:]] == [0, 0], "".join(log.read_text() for log in logs)
    assert len(seen) == 12
    assert finish(start(words(spec_file), logs[3])) == 0  # Clears away what the killed one left.
    assert contents(root) == contents(tmp_path / "quiet")
    assert leftovers(root) == []
    assert "at work" not in str(status(root))


def test_fresh_is_refused_while_another_run_is_at_work(
    spec: Spec, copied: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = copied()
    (tmp_path / "spec.yaml").write_text(dump_spec(spec))
    leases = Leases(root)
    with leases.take("records/s0000-0000/00001"):
        assert exit_code(["run", str(tmp_path / "spec.yaml"), "--output", str(root), "--fresh"]) == 1
    leases.close()
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"records/s0000-0000/00001 is held by process {os.getpid()} on" in line
    assert "wait for it, or stop it" in line
    assert not root.with_name("data.old-1").exists()


def lease_file(root: Path) -> Path:
    return root / ".leases" / "records--s0000-0000--00000.json"


def write_lease(root: Path, **changed: object) -> Path:
    path = lease_file(root)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"host": "another", "process": 1, "started": "1", "since": 0.0} | changed))
    return path


def test_a_lease_is_held_by_one_and_free_afterwards(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    with leases.take("records/s0000-0000/00000") as first, leases.take("records/s0000-0000/00000") as second:
        assert (first, second) == (True, False)
        assert holders(tmp_path)["records/s0000-0000/00000"].process == os.getpid()
    assert holders(tmp_path) == {}
    with leases.take("records/s0000-0000/00000") as third:
        assert third
    leases.close()


@pytest.mark.parametrize(
    ("changed", "idle_seconds", "watched_seconds", "free"),
    [
        ({"machine": this_machine(), "process": 2**22 + 1}, 0, 0, True),  # No such process.
        ({"machine": this_machine(), "process": os.getpid(), "started": "1"}, 0, 0, True),  # Its number was reused.
        ({}, 0, 60, False),
        ({"host": socket.gethostname(), "process": 2**22 + 1}, 0, 60, False),  # Another container of that host name.
        ({}, EXPIRY_SECONDS - 30, 60, False),
        ({}, EXPIRY_SECONDS + 30, 0, False),  # Perhaps the clock went forwards, and it is touched in a moment.
        ({}, EXPIRY_SECONDS + 30, 60, True),
        ({}, -1e6, 60, False),
        ({}, -1e6, EXPIRY_SECONDS + 30, True),  # The clock went back, and nobody touches it.
        ({"since": "yesterday", "unknown": 1}, 0, 0, False),  # Not readable: perhaps being written.
        ({"since": "yesterday", "unknown": 1}, 60, 40, True),
    ],
)
def test_only_the_lease_of_a_dead_holder_is_taken_over(
    tmp_path: Path, changed: dict[str, object], idle_seconds: float, watched_seconds: float, free: bool
) -> None:
    path = write_lease(tmp_path, **changed)
    os.utime(path, (time.time() - idle_seconds,) * 2)
    now = 0.0
    leases = Leases(tmp_path, clock=lambda: now)
    if watched_seconds:
        with leases.take("records/s0000-0000/00000") as held:
            assert not held
        now = watched_seconds
    with leases.take("records/s0000-0000/00000") as held:
        assert held == free
    leases.close()
    assert path.exists() != free
    assert [p.name for p in path.parent.iterdir()] == ([] if free else [path.name])


def test_a_touch_while_we_watch_keeps_a_lease_that_looks_old(tmp_path: Path) -> None:
    """The file system's clock is an hour ahead of what it was when the holder last touched its lease, and goes on."""
    path, now = write_lease(tmp_path), 0.0
    leases = Leases(tmp_path, clock=lambda: now)
    for touch in range(20):
        os.utime(path, (time.time() - 3600 + touch,) * 2)
        with leases.take("records/s0000-0000/00000") as held:
            assert not held
        now += 15.0
    leases.close()


def test_of_many_who_find_a_dead_holder_one_takes_over(tmp_path: Path) -> None:
    holding, most = 0, 0
    count = threading.Lock()

    def take(_number: int) -> None:
        nonlocal holding, most
        leases = Leases(tmp_path)
        with leases.take("records/s0000-0000/00000") as held:
            with count:
                holding += held
                most = max(most, holding)
            time.sleep(0.001)
            with count:
                holding -= held

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            write_lease(tmp_path, machine=this_machine(), process=2**22 + 1)
            list(threads.map(take, range(8)))
    assert most == 1


def test_a_killed_process_that_nobody_buried_holds_nothing(tmp_path: Path) -> None:
    """A zombie keeps its number and start time until its parent waits for it."""
    hold = "import sys, time, pathlib, latentext.storage.lease as lease\n"
    hold += "with lease.Leases(pathlib.Path(sys.argv[1])).take('plan'): time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)]) as process:
        try:
            wait_for(lambda: holders(tmp_path))
            process.kill()
            state = Path(f"/proc/{process.pid}/stat")
            wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z")
            assert holders(tmp_path) == {}
        finally:
            process.kill()


def test_a_run_waits_for_a_shard_that_another_holds_and_says_so(
    spec: Spec, copied: Callable[..., Path], engine: TransformersEngine
) -> None:
    root = copied()
    files = contents(root)
    for path in (root / "records" / "s0000-0000").glob("00000*"):
        path.unlink()
    path = write_lease(root)

    class ReleasedOnceSaid:
        notes: tuple[str, ...] = ()

        def start(self, total: int, done: int, description: str) -> None:
            self.total, self.done = total, done

        def advance(self, texts: int, tokens: int) -> None:
            self.done += texts

        def note(self, line: str) -> None:
            self.notes += (line,)
            path.unlink()

        def finish(self) -> None:
            pass

        def spent(self, spend: object) -> None:
            pass

        def waits(self, line: str | None) -> None:
            pass

    progress = ReleasedOnceSaid()
    make_dataset(spec, root, engine=engine, progress=progress)
    (note,) = progress.notes
    assert note.startswith("waiting for 1 shard of texts that process 1 on another, since ")
    assert (progress.done, progress.total) == (8, 8)
    assert contents(root) == files


def test_a_lease_that_an_interrupt_left_behind_is_given_back_at_the_end(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    # As when Ctrl-C comes right after the lease was made: nothing ran that would have removed it.
    interrupted = leases.take("records/00001")
    assert interrupted.__enter__()
    assert list(holders(tmp_path)) == ["records/00001"]
    leases.close()
    assert not list((tmp_path / ".leases").iterdir())
    interrupted.__exit__(None, None, None)
