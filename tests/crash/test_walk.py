"""A walk through every crash window: the process ends before each of its changes to the disk in turn, or is interrupted
after it.

All changes go through `latentext.storage.filesystem`, so a shim there can count them and end the process (no clean-up,
no ``finally``) before any one. Then the same commands run again, and the directory must be that of a quiet run. Ctrl-C
must also leave nothing half done behind, until then.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.crash.processes import call, finish, in_a_fork, in_memory
from tests.run.echo_engine import EchoEngine
from tests.run.made import commits, contents, leftovers, small_spec

from latentext.dataset import layout
from latentext.dataset.receipts import Receipt, check_shard, sha256_of
from latentext.dataset.verify import verify_files
from latentext.engines.transformers.engine import TransformersEngine
from latentext.run import runner
from latentext.run.progress import StatusFile
from latentext.run.runner import make_dataset
from latentext.storage import filesystem

CHANGES = (
    "create",
    "create_with",
    "write",
    "sync",
    "close",
    "replace",
    "sync_folder",
    "remove",
    "remove_folder",
    "make_folder",
)
CRASHED = 77
EVERYWHERE = os.environ.get("LATENTEXT_CRASH_POINTS") == "all"
PARTS = range(4) if EVERYWHERE else range(1)
"""The walk is cut so that several processes can take it."""


def walked(walk: Callable[[str, str, int, str], None], model: Path, tmp_path: Path, part: int) -> dict[str, Any]:
    """What a walk found, in a process of its own and a folder in memory."""
    with in_memory(tmp_path) as folder:
        report = folder / "report.json"
        assert finish(call(walk, str(model), str(folder), part, str(report)), 3000) == 0
        found: dict[str, Any] = json.loads(report.read_text())
        return found


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_run_without_a_model_stopped_before_every_change_to_the_disk_continues_to_the_same_bytes(
    stories260k: Path, tmp_path: Path, part: int
) -> None:
    """The engine is scripted, so that every window can be walked through, and plan, texts, scores and views are real.
    Without LATENTEXT_CRASH_POINTS=all every eighth."""
    found = walked(_walk_scripted, stories260k, tmp_path, part)
    assert found["changes"] > 200
    assert found["walked"] == len(range(part, found["changes"], len(PARTS) if EVERYWHERE else 8))
    assert found["faults"] == []


def _walk_scripted(model: str, folder: str, part: int, report: str) -> None:
    spec = small_spec(model, counts=1, states=None, rewards=["length"], check={"repetition": {}})
    engine = EchoEngine()

    def make(root: Path) -> None:
        """Texts, then more samples of them; each scored and checked."""
        for n in (1, 2):
            decoding = spec.decoding.model_copy(update={"n": n})
            make_dataset(spec.model_copy(update={"decoding": decoding}), root, engine=engine)

    step = len(PARTS) if EVERYWHERE else 8
    _walk_points(make, Path(folder), lambda total: list(range(part, total, step)), Path(report))


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("how", ["stopped", "interrupted"])
def test_a_run_that_ends_at_any_change_to_the_disk_continues_to_the_same_bytes(
    stories260k: Path, tmp_path: Path, how: str, part: int
) -> None:
    """With a real model and states: stopped before, or interrupted after. Some windows, spread evenly, or every one.

    An interrupted one also leaves nothing half done."""
    walk, points = {"stopped": (_walk, 12), "interrupted": (_walk_interrupted, 24)}[how]
    found = walked(walk, stories260k, tmp_path, part)
    assert found["changes"] > 150
    assert found["walked"] >= (found["changes"] // len(PARTS) if EVERYWHERE else points)
    assert found["faults"] == []


def stop_process() -> None:
    sys.stderr.flush()
    os._exit(CRASHED)


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def _walk(model: str, folder: str, part: int, report: str) -> None:
    _walk_model(model, folder, part, report, 12, stop_process)


def _walk_interrupted(model: str, folder: str, part: int, report: str) -> None:
    _walk_model(model, folder, part, report, 24, _interrupt)


def _walk_model(model: str, folder: str, part: int, report: str, points: int, stop: Callable[[], None]) -> None:
    """Load the model once, then fork: one child to crash, one to go on, for each point."""
    from latentext.engines.opening import open_transformers

    spec = small_spec(model, counts=1, decoding={"max_new_tokens": 3}, states={"sites": ["final_norm"]})
    engine = open_transformers(spec.model)

    def chosen(total: int) -> list[int]:
        return list(range(part, total, len(PARTS) if EVERYWHERE else total // points))

    _walk_points(lambda root: _make(root, engine), Path(folder), chosen, Path(report), stop)


def _walk_points(
    make: Callable[[Path], None],
    folder: Path,
    chosen: Callable[[int], list[int]],
    report: Path,
    stop: Callable[[], None] = stop_process,
) -> None:
    """Make the dataset in a fork that stops, and in one that goes on, for each of the chosen changes."""
    quiet, changes = folder / "quiet", folder / "changes"
    in_a_fork(lambda: changes.write_text(str(counted(lambda: make(quiet), None))))
    total = int(changes.read_text())
    expected, walked = contents(quiet), chosen(total)
    found = ((k, fault_after(k, folder / f"at-{k}", make, expected, stop)) for k in walked)
    faults = [f"{k}: {fault}" for k, fault in found if fault]
    report.write_text(json.dumps({"changes": total, "walked": len(walked), "faults": faults}))


def _make(root: Path, engine: TransformersEngine) -> None:
    """Texts with states in flight, then more samples of them, then states by replay: every kind of commit."""
    from latentext.run.runner import capture_states, make_dataset
    from latentext.spec import StatesSpec

    for n in (1, 2):
        decoding = {"max_new_tokens": 3, "n": n}
        name = engine.loaded.source.name
        spec = small_spec(name, counts=1, decoding=decoding, states={"sites": ["final_norm"]})
        make_dataset(spec, root, engine=engine)
    capture_states(root, StatesSpec(sites=("embed",), pool=("mean",)), engine=engine)


def fault_after(
    point: int, root: Path, make: Callable[[Path], None], expected: dict[str, str], stop: Callable[[], None]
) -> str | None:
    """What is wrong after a stop at change `point` and a second run; None when all is well."""
    code = in_a_fork(lambda: _stopped(lambda: make(root), point, stop))
    if code != CRASHED:
        return f"ended with {code} before the change came"
    if stop is _interrupt and (left := _left_half_done(root)):
        return f"left by an interrupt: {left}"
    if half := _half_committed(root):
        return f"committed, but not whole: {half}"
    done = _committed(root)
    if code := in_a_fork(lambda: make(root)):
        return f"the second run ended with {code}"
    after = commits(root)
    if again := [name for name, seen in done.items() if after.get(name) != seen]:
        return f"computed twice: {again}"
    found = contents(root)
    if found != expected:
        return f"differ: {sorted(k for k in {**found, **expected} if found.get(k) != expected.get(k))}"
    if left := leftovers(root):
        return f"left: {left}"
    shutil.rmtree(root)  # Hundreds of directories in memory are more than it has room for.
    return None


def _stopped(work: Callable[[], object], point: int, stop: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs begin without it.
    try:
        counted(work, point, stop)
    except KeyboardInterrupt:
        stop_process()


def _left_half_done(root: Path) -> list[str]:
    """Temporary files, leases, and files that no receipt describes."""
    undescribed = [finding.path for finding in verify_files(root) if finding.what == "no receipt describes it"]
    return leftovers(root) + undescribed


def counted(work: Callable[[], object], point: int | None, stop: Callable[[], None] = stop_process) -> int:
    """Count the changes to the disk while `work` runs; crash before the one with number `point`, or interrupt after."""
    made = 0

    def counting(change: Callable[..., object], *arguments: object) -> object:
        nonlocal made
        made += 1
        if made - 1 != point:
            return change(*arguments)
        if stop is stop_process:
            stop()
        changed = change(*arguments)
        stop()
        return changed

    # Else status.json would be written by the clock, and a slow machine would count changes that a quick one lacks.
    runner.StatusFile = functools.partial(StatusFile, every=math.inf)  # type: ignore[assignment,misc]
    for name in CHANGES:
        setattr(filesystem, name, functools.partial(counting, getattr(filesystem, name)))
    work()
    return made


def _half_committed(root: Path) -> list[str]:
    """Shards whose records are committed but cannot be believed, or whose bytes are not those of the receipt."""
    bad = []
    for stage in layout.list_stages(root, "records"):
        for number in layout.list_shards(root, stage):
            receipt = check_shard(root, stage, number)
            whole = isinstance(receipt, Receipt) and all(
                sha256_of(root / stage / file.name) == file.sha256 for file in receipt.files
            )
            bad += [] if whole else [f"{stage}/{number}"]
    return bad


def _committed(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of the files of all records that have their receipt."""
    return {
        name: seen
        for name, seen in commits(root).items()
        if name.startswith("records/") and (root / name).with_name(Path(name).name[:5] + ".receipt.json").exists()
    }
