"""Runs over Ray actors: workers and drivers that are killed midway change no byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.run.made import contents, leftovers, small_spec

from latentext.run.processes import ProcessWorkers
from latentext.run.ray_workers import RayWorkers
from latentext.run.runner import make_dataset
from latentext.run.spreading import make_dataset_with_workers
from latentext.spec.files import dump_spec

pytest.importorskip("ray", reason="Ray is not installed: pip install 'latentext[ray]'")


class _KillOnce(RayWorkers):
    """Kills the process of worker 1 when it has been handed its first shard."""

    killed = 0

    def ask(self, worker: int, method: str, *arguments: Any) -> None:
        if method == "compute" and worker == 1 and not self.killed:
            self.killed = self._ray.get(self._actors[1].process_id.remote())
            super().ask(worker, method, *arguments)
            threading.Timer(0.05, os.kill, (self.killed, signal.SIGKILL)).start()
            return
        super().ask(worker, method, *arguments)


@pytest.mark.slow
def test_two_ray_workers_one_of_them_killed_make_the_bytes_of_a_local_run(stories260k: Path, tmp_path: Path) -> None:
    spec = small_spec(stories260k, counts=4)
    make_dataset(spec, tmp_path / "local")
    started: list[_KillOnce] = []

    def start(order: Any) -> _KillOnce:
        started.append(_KillOnce(replace(order), 2))
        return started[0]

    summary = make_dataset_with_workers(spec, tmp_path / "ray", start=start)
    assert started[0].killed
    assert (summary.pending, summary.exit_code) == (0, 0)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    # Ray ends actors without a farewell, so their last leases may stand; the next run takes them over.
    make_dataset(spec, tmp_path / "ray")
    assert leftovers(tmp_path / "ray") == []


@pytest.mark.slow
def test_worker_processes_with_a_real_model_make_the_bytes_of_a_local_run(stories260k: Path, tmp_path: Path) -> None:
    spec = small_spec(stories260k, counts=2)
    make_dataset(spec, tmp_path / "local")
    summary = make_dataset_with_workers(spec, tmp_path / "two", start=lambda order: ProcessWorkers(order, 2), threads=1)
    assert (summary.pending, summary.exit_code) == (0, 0)
    assert contents(tmp_path / "two") == contents(tmp_path / "local")
    assert leftovers(tmp_path / "two") == []


SEED = int(os.environ.get("LATENTEXT_SEED", "1126"))


@pytest.mark.slow
@pytest.mark.skipif("LATENTEXT_KILLS" not in os.environ, reason="five kills under Ray take minutes: make test-crash")
def test_two_drivers_and_three_workers_killed_at_random_instants_change_no_byte(
    stories260k: Path, tmp_path: Path
) -> None:
    decoding = {"min_new_tokens": 60, "max_new_tokens": 60}
    spec = small_spec(stories260k, counts=15, decoding=decoding)
    (tmp_path / "spec.yaml").write_text(dump_spec(spec))
    root, log, draws = tmp_path / "ray", tmp_path / "log", random.Random(SEED)
    print(f"ray: 5 kills, seed {SEED}")
    make_dataset(spec, tmp_path / "local")

    def receipts() -> int:
        return len(list(root.glob("records/*/*.receipt.json")))

    def begin() -> subprocess.Popen[bytes]:
        words = ["run", str(tmp_path / "spec.yaml"), "--output", str(root), "--runner", "ray", "--workers", "2"]
        with log.open("ab") as file:
            return subprocess.Popen([sys.executable, "-m", "latentext", *words], stdout=file, stderr=file)

    def until(happened: Callable[[], object], driver: subprocess.Popen[bytes]) -> None:
        while not happened():
            assert driver.poll() is None, log.read_text()
            time.sleep(0.01)

    for _ in range(2):
        driver, there = begin(), receipts()
        until(lambda there=there: receipts() > there, driver)  # type: ignore[misc]
        time.sleep(draws.uniform(0, 0.3))
        driver.kill()
        assert driver.wait() == -signal.SIGKILL
    driver = begin()
    for _ in range(3):
        there = receipts()
        until(lambda there=there: receipts() > there and _actors(driver.pid), driver)  # type: ignore[misc]
        time.sleep(draws.uniform(0, 0.1))
        os.kill(draws.choice(_actors(driver.pid)), signal.SIGKILL)
    assert driver.wait(300) == 0, log.read_text()
    assert contents(root) == contents(tmp_path / "local")
    make_dataset(spec, root)
    assert leftovers(root) == []


def _actors(driver: int) -> list[int]:
    """The processes of actors below a driver, which starts the cluster's processes itself."""
    below, found = {driver}, []
    processes = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    for process in processes:
        try:
            parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
            name = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if parent in below:
            below.add(process)
            found += [process] if name.startswith("ray::_Actor") else []
    return found
