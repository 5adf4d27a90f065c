"""SIGKILL, SIGINT and SIGTERM at moments that nobody chose, and the same command again: the bytes of a quiet run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.processes import finish, run, start
from tests.run.made import commits, contents, leftovers, small_spec

from latentext.spec.files import dump_spec
from latentext.storage.atomic import is_temporary

SHARDS = 20


@pytest.fixture(scope="module")
def command(stories260k: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """The command that makes 40 texts in 20 shards, with two sites, in a folder of the given name."""
    folder = tmp_path_factory.mktemp("kill")
    decoding = {"min_new_tokens": 40, "max_new_tokens": 40}
    (folder / "spec.yaml").write_text(dump_spec(small_spec(stories260k, counts=SHARDS // 2, decoding=decoding)))
    return lambda name: ["run", str(folder / "spec.yaml"), "--output", str(folder / name)]


@pytest.fixture(scope="module")
def quiet(command: Callable[[str], list[str]]) -> dict[str, str]:
    """The files of a run that nobody disturbed."""
    words = command("quiet")
    assert run(words, Path(words[-1]).with_suffix(".log")) == 0
    files = contents(Path(words[-1]))
    assert sum(name.startswith("records/") and name.endswith("receipt.json") for name in files) == SHARDS
    return files


def receipts(root: Path) -> int:
    return len(list(root.glob("records/*/*.receipt.json")))


def temporaries(root: Path) -> int:
    return sum(is_temporary(path.name) for path in root.rglob("*"))


def wait_until(happened: Callable[[], bool], process_is_alive: Callable[[], bool]) -> None:
    while not happened():
        assert process_is_alive(), "the run ended before it was disturbed"
        time.sleep(0.002)


def committed_files(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of the files of every shard whose records' receipt is there."""
    done = {path.name[:5] for path in root.glob("records/*/*.receipt.json")}
    return {name: seen for name, seen in commits(root).items() if Path(name).name[:5] in done}


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_same_bytes_and_computes_no_shard_twice(
    command: Callable[[str], list[str]], quiet: dict[str, str]
) -> None:
    words = command("killed")
    root, log = Path(words[-1]), Path(words[-1]).with_suffix(".log")
    moments = random.Random(3)
    before: dict[str, tuple[int, int]] = {}
    for kill in range(10):
        process = start(words, log)
        there = receipts(root)
        if kill == 0:
            wait_until(lambda: (root / "plan").exists(), process.is_alive)
        elif kill % 2:
            wait_until(lambda more=there + 1: receipts(root) >= more, process.is_alive)
        else:
            wait_until(lambda: temporaries(root / "records") + temporaries(root / "states") > 0, process.is_alive)
        time.sleep(moments.uniform(0, 0.1))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        assert finish(process) == -signal.SIGKILL
        after = committed_files(root)
        assert {name: after[name] for name in before} == before
        before = after
    assert 0 < receipts(root) < SHARDS
    assert run(words, log) == 0, log.read_text()
    after = committed_files(root)
    assert {name: after[name] for name in before} == before
    assert contents(root) == quiet
    assert leftovers(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_leaves_nothing_half_written(
    command: Callable[[str], list[str]], quiet: dict[str, str], sent: signal.Signals
) -> None:
    words = command(f"interrupted-{sent.name}")
    root, log = Path(words[-1]), Path(words[-1]).with_suffix(".log")
    process = start(words, log)
    wait_until(lambda: receipts(root) >= 3, process.is_alive)
    assert process.pid is not None
    os.kill(process.pid, sent)
    assert finish(process) == 130, log.read_text()
    *_, said, go_on = log.read_text().splitlines()
    assert go_on == f"To go on: latentext {' '.join(words)}"
    assert said.startswith(f"Interrupted. Kept in {root}: ")
    assert leftovers(root) == []
    done = committed_files(root)
    assert run(words, log) == 0, log.read_text()
    after = committed_files(root)
    assert {name: after[name] for name in done} == done
    assert contents(root) == quiet
