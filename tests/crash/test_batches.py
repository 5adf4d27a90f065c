"""SIGKILL between every two steps of a batch's life, and the same command again: nothing lost, nothing paid twice.

A step is a call to the server (the process dies before it is sent, or with the reply in hand) or the rename that brings
a file to the disk under its name. The server counts what was made and what was billed. Every fourth step is walked;
with LATENTEXT_CRASH_POINTS=all every one is.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.crash.processes import call, finish, in_a_fork, in_memory
from tests.engines.batch.made import PatientClock, Server, paid_once, serving, tally, workspace

from latentext.engines.batch import remote as remote_module
from latentext.engines.batch.remote import Remote
from latentext.engines.batch.workflow import Conditions, run_batches
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.standin.batch_faults import Ending, RequestFault
from latentext.storage import filesystem
from latentext.storage.atomic import is_temporary

CALLS = ("upload", "create", "batch", "batches", "files", "delete_file", "size_of", "content")
STEPS_ON_DISK = ("replace",)
EVERYWHERE = os.environ.get("LATENTEXT_CRASH_POINTS") == "all"


@dataclass(frozen=True)
class Point:
    """One kill: its step, its own server and its own folder."""

    step: int
    server: Server
    place: BatchWorkspace


@pytest.mark.slow
@pytest.mark.parametrize("eventful", [False, True], ids=["quiet", "eventful"])
def test_a_run_killed_between_any_two_steps_loses_nothing_and_pays_nothing_twice(
    tmp_path: Path, eventful: bool
) -> None:
    """Eventful: one batch expires, one request fails at first, lists lag behind, so more is sent and looked for."""
    faults: dict[str, Any] = {"hidden_lists": 1}
    if eventful:
        failing = RequestFault(500, {"message": "The server had an error"})
        faults |= {"endings": (Ending("expired", 1),), "requests": {"request-1-0": failing}, "shuffled": True}
    with ExitStack() as stack:
        root = stack.enter_context(in_memory(tmp_path))

        def point(step: int) -> Point:
            server = stack.enter_context(serving(**faults))
            return Point(step, server, workspace(root / f"{step}", requests=4, per_file=2))

        counted, report = point(-1), root / "report.json"
        assert finish(call(_count, counted.server.url, str(counted.place.requests), str(report))) == 0
        assert _fault(counted) is None
        total = json.loads(report.read_text())
        assert total > 30
        points = [point(step) for step in range(0, total, 1 if EVERYWHERE else 4)]
        addresses = [(point.step, point.server.url, str(point.place.requests)) for point in points]
        assert finish(call(_walk, addresses, str(report)), 3000) == 0
        assert json.loads(report.read_text()) == []
        assert [fault for point in points if (fault := _fault(point))] == []


def _fault(point: Point) -> str | None:
    """What is wrong after a kill at this step and a second run; None when all is well."""
    place, desk, step = point.place, point.server.desk, point.step
    if tally(place) != {"answered": 4}:
        return f"{step}: lost answers: {tally(place)}"
    if not paid_once(desk, place):
        return f"{step}: billed {desk.billed}"
    batches = {part.batch_id for part in place.ledger().parts}
    if desk.created != len(batches):
        return f"{step}: {desk.created} batches made, {len(batches)} known"
    inputs = [file.name for file in desk.files.files.values() if file.purpose == "batch"]
    if len(inputs) != len(batches):
        return f"{step}: files left at the server: {inputs}"
    left = [path.name for folder in (place.requests, place.outputs) for path in folder.iterdir()]
    left = [name for name in left if is_temporary(name)]
    return f"{step}: left on the disk: {left}" if left else None


def _walk(addresses: list[tuple[int, str, str]], report: str) -> None:
    """In one process: for each point a fork that is killed there, and another that goes on."""
    import openai.resources.batches
    import openai.resources.files
    import openai.types  # noqa: F401 - once here and not once in every fork

    faults = []
    for step, url, requests in addresses:
        if (code := in_a_fork(lambda: _run(url, requests, step))) != -signal.SIGKILL:  # noqa: B023 - called at once
            faults.append(f"{step}: ended with {code} instead of being killed")
        if code := in_a_fork(lambda: _run(url, requests, None)):  # noqa: B023 - called at once
            faults.append(f"{step}: the second run ended with {code}")
    Path(report).write_text(json.dumps(faults))


def _count(url: str, requests: str, report: str) -> None:
    """How many steps an undisturbed run has."""
    Path(report).write_text(json.dumps(_run(url, requests, None)))


def _run(url: str, requests: str, kill_at: int | None) -> int:
    """The cycle, killed before the step with this number; returns how many steps it had."""
    taken = 0

    def step() -> None:
        nonlocal taken
        if taken == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        taken += 1

    def stepping(function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            step()
            result = function(*arguments)
            if after:
                step()
            return result

        return wrapped

    for name in CALLS:
        setattr(Remote, name, stepping(getattr(Remote, name), after=True))
    for name in STEPS_ON_DISK:
        setattr(filesystem, name, stepping(getattr(filesystem, name), after=False))
    place = BatchWorkspace(Path(requests), Path(requests).with_name("outputs"))
    clock = PatientClock().clock
    with place.alone():
        remote = remote_module.open_remote(url, clock)
        run_batches(place, place.ledger(), remote, clock, lambda line: None, Conditions())
    return taken
