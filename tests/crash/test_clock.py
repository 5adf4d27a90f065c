"""Clocks that jump, the machine's and the file system's: no work is lost, none is done twice."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.crash.processes import call, finish, in_a_fork, in_memory
from tests.engines.batch.made import PatientClock, paid_once, serving, tally, workspace
from tests.run.echo_engine import EchoEngine
from tests.run.made import commits, contents, leftovers, small_spec

from latentext.engines.batch.clock import Clock
from latentext.engines.batch.workflow import Conditions, run_batches
from latentext.engines.server.standin.batch_faults import Ending
from latentext.run.part import RunPart
from latentext.run.runner import make_dataset
from latentext.storage.atomic import PendingFile, sweep

TEN_DAYS = 10 * 24 * 3600.0


def _jumping(model: str, folder: str, report: str) -> None:
    """Each half of a run under a clock that jumps at every look, and files whose times were changed in between."""
    spec, root, draws = small_spec(model, states=None, rewards=["length"]), Path(folder) / "data", random.Random(4)
    real = time.time
    time.time = lambda: real() + draws.choice((-TEN_DAYS, 0.0, TEN_DAYS))
    make_dataset(spec, root, engine=EchoEngine(), part=RunPart(1, 2))
    for path in sorted(root.rglob("*")):
        if path.is_file():
            os.utime(path, (real() + draws.uniform(-TEN_DAYS, TEN_DAYS),) * 2)
    done = commits(root)
    make_dataset(spec, root, engine=EchoEngine())
    after = commits(root)
    again = [name for name, seen in done.items() if after[name] != seen]
    time.time = real
    make_dataset(spec, Path(folder) / "quiet", engine=EchoEngine())
    same = contents(root) == contents(Path(folder) / "quiet")
    Path(report).write_text(f"{len(done)} {again} {same} {leftovers(root)}")


@pytest.mark.slow
def test_a_run_whose_clock_jumps_by_days_computes_every_shard_once(stories260k: Path, tmp_path: Path) -> None:
    with in_memory(tmp_path) as folder:
        report = folder / "report"
        assert finish(call(_jumping, str(stories260k), str(folder), str(report))) == 0
        assert report.read_text() == "4 [] True []"


def test_a_file_that_a_living_process_writes_is_not_swept_whatever_its_time(tmp_path: Path) -> None:
    file = PendingFile(tmp_path / "data.bin")
    file.open()
    (temporary,) = tmp_path.iterdir()
    for days in (-10, 10):
        os.utime(temporary, (time.time() + days * 24 * 3600,) * 2)
        assert sweep(tmp_path) == []
    file.write(b"whole")
    file.commit()
    assert (tmp_path / "data.bin").read_bytes() == b"whole"


def test_a_file_of_a_process_whose_number_was_given_out_again_is_swept(tmp_path: Path) -> None:
    def leave() -> None:
        PendingFile(tmp_path / "data.bin").open()

    assert in_a_fork(leave) == 0
    (temporary,) = tmp_path.iterdir()
    writer, _, rest = temporary.name.partition("-")
    _number, start, unique = rest.split("-")
    reused = temporary.rename(tmp_path / f"{writer}-{os.getpid()}-{start}-{unique}")
    assert sweep(tmp_path) == [reused]


@pytest.mark.parametrize("jump", [-TEN_DAYS, TEN_DAYS])
def test_a_batch_whose_reply_was_lost_is_looked_for_as_long_whatever_the_clock_does(
    tmp_path: Path, jump: float
) -> None:
    """The server takes it and says nothing, and its lists lag: who trusts the clock pays twice, or waits ten days."""
    with serving(hidden_lists=3, lost_creations=1) as server:
        place = workspace(tmp_path, requests=2, per_file=2)
        patient = PatientClock()
        looks = iter([0.0])

        def now() -> float:
            return patient.now() + next(looks, jump)  # The first look is before the jump.

        with place.alone():
            clock = replace(patient.clock, now=now)
            assert isinstance(clock, Clock)
            run_batches(place, place.ledger(), server.remote, clock, server.told.append, Conditions())
        assert tally(place) == {"answered": 2}
        assert paid_once(server.desk, place)
        assert server.desk.created == 1
        assert patient.waited < 3600


def test_a_full_queue_holds_a_batch_for_minutes_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    full = Ending("failed", 0, "token_limit_exceeded", "too many enqueued tokens")
    with serving(endings=(full,)) as server:
        place = workspace(tmp_path, requests=2, per_file=2)
        patient, back = PatientClock(), 0.0

        def now() -> float:
            return patient.now() + back

        def told(line: str) -> None:
            nonlocal back
            if "enqueued" in line:
                back = -TEN_DAYS

        with place.alone():
            run_batches(place, place.ledger(), server.remote, replace(patient.clock, now=now), told, Conditions())
        assert back
        assert tally(place) == {"answered": 2}
        assert patient.waited < 3600
