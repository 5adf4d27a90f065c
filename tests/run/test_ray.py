"""Runs over Ray actors: a worker that is killed midway changes no byte."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.run.made import contents, leftovers, small_spec

from latentext.run.processes import ProcessWorkers
from latentext.run.ray_workers import RayWorkers
from latentext.run.runner import make_dataset
from latentext.run.spreading import make_dataset_with_workers

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
