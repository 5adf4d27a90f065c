"""A walk through every crash window: the process ends before each of its changes to the disk in turn.

All changes go through `latentext.dataset.filesystem`, so a shim there can count them and end the process (no clean-up,
no ``finally``) before any one. Then the same commands run again, and the directory must be that of a quiet run.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.processes import call, finish
from tests.run.echo_engine import EchoEngine
from tests.run.made import commits, contents, leftovers, small_spec

from latentext.dataset import filesystem, layout
from latentext.dataset.receipts import Receipt, check_shard, sha256_of
from latentext.engines.transformers.engine import TransformersEngine
from latentext.run.runner import make_dataset

CHANGES = ("create", "create_with", "write", "sync", "close", "replace", "sync_folder", "remove", "make_folder")
CRASHED = 77


@pytest.mark.slow
def test_a_run_without_a_model_stopped_before_every_change_to_the_disk_continues_to_the_same_bytes(
    stories260k: Path, tmp_path: Path
) -> None:
    """The engine is scripted, so that every window can be walked through, and plan, texts, scores and views are real.
    Without LATENTEXT_CRASH_POINTS=all every eighth."""
    step = 1 if os.environ.get("LATENTEXT_CRASH_POINTS") == "all" else 8
    report = tmp_path / "report.json"
    assert finish(call(_walk_scripted, str(stories260k), str(tmp_path), step, str(report)), 3000) == 0
    found = json.loads(report.read_text())
    assert found["changes"] > 200
    assert found["walked"] == len(range(0, found["changes"], step))
    assert found["faults"] == []


def _walk_scripted(model: str, folder: str, step: int, report: str) -> None:
    spec = small_spec(model, states=None, rewards=["length"], check={"repetition": {}})
    engine = EchoEngine()

    def make(root: Path) -> None:
        """Texts, then more samples of them; each scored and checked."""
        for n in (1, 2):
            decoding = spec.decoding.model_copy(update={"n": n})
            make_dataset(spec.model_copy(update={"decoding": decoding}), root, engine=engine)

    _walk_points(make, Path(folder), lambda total: list(range(0, total, step)), Path(report))


@pytest.mark.slow
def test_a_run_stopped_before_any_change_to_the_disk_continues_to_the_same_bytes(
    stories260k: Path, tmp_path: Path
) -> None:
    """A sample of the windows, spread evenly; LATENTEXT_CRASH_POINTS=all walks through every one."""
    points = os.environ.get("LATENTEXT_CRASH_POINTS", "12")
    report = tmp_path / "report.json"
    assert finish(call(_walk, str(stories260k), str(tmp_path), points, str(report)), 3000) == 0
    found = json.loads(report.read_text())
    assert found["changes"] > 150
    assert found["walked"] >= min(12, found["changes"])
    assert found["faults"] == []


def _walk(model: str, folder: str, points: str, report: str) -> None:
    """Load the model once, then fork: one child to crash, one to go on, for each point."""
    from latentext.engines.opening import open_transformers

    spec = small_spec(model, counts=1, decoding={"max_new_tokens": 3}, states={"sites": ["final_norm"]})
    engine = open_transformers(spec.model)

    def chosen(total: int) -> list[int]:
        step = 1 if points == "all" else total / int(points)
        return sorted({int(k * step) for k in range(int(total / step))})

    _walk_points(lambda root: _make(root, engine), Path(folder), chosen, Path(report))


def _walk_points(make: Callable[[Path], None], folder: Path, chosen: Callable[[int], list[int]], report: Path) -> None:
    """Make the dataset in a fork that crashes, and in one that goes on, for each of the chosen changes."""
    quiet, changes = folder / "quiet", folder / "changes"
    _in_a_fork(lambda: changes.write_text(str(_counted(lambda: make(quiet), None))))
    total = int(changes.read_text())
    expected, walked = contents(quiet), chosen(total)
    faults = [f"{k}: {fault}" for k in walked if (fault := _fault(k, total, folder / f"at-{k}", make, expected))]
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


def _fault(point: int, total: int, root: Path, make: Callable[[Path], None], expected: dict[str, str]) -> str | None:
    """What is wrong after a crash before change `point` and a second run; None when all is well."""
    code = _in_a_fork(lambda: _counted(lambda: make(root), point))
    if code not in (CRASHED, 0):
        return f"ended with {code} instead of crashing"
    # status.json is written by the clock, so a run may make a few changes less than the one that was counted.
    if code == 0 and point < 0.95 * total:
        return "ended before the change came"
    if half := _half_committed(root):
        return f"committed, but not whole: {half}"
    done = _committed(root)
    if code := _in_a_fork(lambda: make(root)):
        return f"the second run ended with {code}"
    after = commits(root)
    if again := [name for name, seen in done.items() if after.get(name) != seen]:
        return f"computed twice: {again}"
    found = contents(root)
    if found != expected:
        return f"differ: {sorted(k for k in {**found, **expected} if found.get(k) != expected.get(k))}"
    return f"left: {left}" if (left := leftovers(root)) else None


def _in_a_fork(work: Callable[[], object]) -> int:
    """Do something in a forked process; returns its exit code."""
    if process := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _counted(work: Callable[[], object], crash_at: int | None) -> int:
    """Count the changes to the disk while `work` runs, and end the process before the one with number `crash_at`."""
    made = 0

    def counting(change: Callable[..., object], *arguments: object) -> object:
        nonlocal made
        if made == crash_at:
            sys.stderr.flush()
            os._exit(CRASHED)
        made += 1
        return change(*arguments)

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
