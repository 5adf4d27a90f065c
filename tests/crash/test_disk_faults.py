"""Disks that are full, closed or broken, files that were cut or changed: one clear line, nothing lost, exact repair.

The real faults are the kernel's own: a small file system in memory, remounted read-only, a limit on the size of files.
Where the kernel cannot be asked (an input/output error in the middle of a run), the shim sits inside the one function
through which every change to the disk goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.crash.processes import call, finish, in_a_fork, in_memory
from tests.crash.test_walk import EVERYWHERE
from tests.run.echo_engine import EchoEngine
from tests.run.made import contents, leftovers, small_spec

from latentext.dataset.verify import verify_files
from latentext.errors import DatasetError, DiskFullError, LatentextError
from latentext.run.runner import make_dataset
from latentext.spec import Spec
from latentext.spec.files import dump_spec
from latentext.storage import filesystem

FAULTS = {errno.ENOSPC: "the disk is full", errno.EIO: "Input/output error", errno.EROFS: "Read-only file system"}


def scripted_spec(model: Path | str) -> Spec:
    """Four texts in two shards, scored and checked: every kind of commit but states."""
    return small_spec(model, counts=1, states=None, rewards=["length"], check={"repetition": {}})


# --- faults of the kernel's own -------------------------------------------------------------------------------------


def _own_mounts(folder: Path, size: str) -> None:
    """Put this process into a mount name space of its own, with a file system of that size on `folder`."""
    new_namespace, new_user = 0x00020000, 0x10000000
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(new_namespace | new_user):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def _can_mount(folder: str) -> None:
    _own_mounts(Path(folder), "1m")


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A folder on which a process of ours can mount a file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if finish(call(_can_mount, str(folder))) != 0:
        pytest.skip("this system lets no process mount a file system of its own")
    return folder


def _on_a_small_disk(folder: str, spec: str, words: list[str], report: str) -> None:
    """The command on a full disk, on one with room that is read-only, and with room: exit codes, and what they left."""
    from latentext.cli.app import exit_code

    disk, told = Path(folder), []
    _own_mounts(disk, "96k")
    shutil.copy(spec, disk / "spec.yaml")
    for options in (None, "size=64m,ro", "rw"):
        if options is not None:
            _remount(disk, options)
        log = Path(report).with_suffix(f".{len(told)}.log")

        def command(log: Path = log) -> None:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
            os._exit(exit_code(["run", str(disk / "spec.yaml"), "--output", str(disk / "data"), *words]))

        code = in_a_fork(command)
        receipts = len(list(disk.glob("data/records/*/*.receipt.json")))
        told.append({"code": code, "said": log.read_text(), "left": leftovers(disk), "receipts": receipts})
    Path(report).write_text(json.dumps({"told": told, "files": contents(disk / "data")}))


@pytest.mark.slow
def test_a_disk_that_is_really_full_or_read_only_stops_the_run_with_one_line_and_it_goes_on(
    stories260k: Path, tmp_path: Path, small_disk: Path
) -> None:
    decoding = {"max_new_tokens": 40, "min_new_tokens": 40}
    (tmp_path / "spec.yaml").write_text(dump_spec(small_spec(stories260k, decoding=decoding)))
    report = tmp_path / "report.json"
    assert finish(call(_on_a_small_disk, str(small_disk), str(tmp_path / "spec.yaml"), [], str(report))) == 0
    found = json.loads(report.read_text())
    full, closed, done = found["told"]
    assert [told["code"] for told in (full, closed, done)] == [1, 1, 0], found
    assert "the disk is full" in full["said"].splitlines()[-1]
    assert "Read-only file system" in closed["said"].splitlines()[-1]
    assert "Traceback" not in full["said"] + closed["said"]
    assert 0 <= full["receipts"] == closed["receipts"] < done["receipts"] == 4
    assert full["left"] == done["left"] == []
    shutil.copy(tmp_path / "spec.yaml", small_disk / "spec.yaml")  # The same paths, now without a disk of its own.
    from latentext.cli.app import exit_code

    assert exit_code(["run", str(small_disk / "spec.yaml"), "--output", str(small_disk / "data")]) == 0
    assert found["files"] == contents(small_disk / "data")


def _with_small_files(spec: str, root: str, bytes_at_most: int, log: str) -> None:
    """The command, in a process that may write no larger file: a quota of the kernel's own."""
    from latentext.cli.app import exit_code

    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most))
    os._exit(exit_code(["run", spec, "--output", root]))


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_named(stories260k: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(dump_spec(small_spec(stories260k, counts=1)))
    root, log = tmp_path / "data", tmp_path / "log"
    process = call(_with_small_files, str(tmp_path / "spec.yaml"), str(root), 8000, str(log))
    assert finish(process) == 1
    assert "cannot write: File too large" in log.read_text().splitlines()[-1]
    assert str(root) in log.read_text().splitlines()[-1]
    assert leftovers(root) == []


# --- faults in the middle of a run ----------------------------------------------------------------------------------


@contextlib.contextmanager
def broken_disk(at: int, number: int, *, for_good: bool) -> Iterator[Callable[[], int]]:
    """The disk refuses change `at` with this error, and all later ones if `for_good`; gives the count of changes."""
    real, made = filesystem._in_our_words, 0

    @contextlib.contextmanager
    def failing(path: Path) -> Iterator[None]:
        nonlocal made
        with real(path):
            made += 1
            if made == at or (for_good and made > at >= 0):
                raise OSError(number, os.strerror(number))
            yield

    filesystem._in_our_words = failing  # type: ignore[assignment]
    try:
        yield lambda: made
    finally:
        filesystem._in_our_words = real


def _walk_faults(model: str, folder: str, report: str) -> None:
    spec, engine, faults = scripted_spec(model), EchoEngine(), []
    count = Path(folder) / "count"

    def quiet() -> None:
        with broken_disk(-1, 0, for_good=False) as changes:
            make_dataset(spec, Path(folder) / "quiet", engine=engine)
        count.write_text(str(changes()))

    assert in_a_fork(quiet) == 0
    expected, total = contents(Path(folder) / "quiet"), int(count.read_text())
    points = range(1, total, 2 if EVERYWHERE else 19)
    for turn, point in enumerate(points):
        number = list(FAULTS)[turn % len(FAULTS)]
        root = Path(folder) / f"at-{point}"
        for_good = turn % 2 == 0
        if code := in_a_fork(lambda: _meets(spec, root, point, number, for_good=for_good)):  # noqa: B023 - at once
            faults.append(f"{point}, {os.strerror(number)}: ended with {code}")
        if code := in_a_fork(lambda: make_dataset(spec, root, engine=engine)):  # noqa: B023 - at once
            faults.append(f"{point}: the second run ended with {code}")
        if contents(root) != expected or leftovers(root):
            faults.append(f"{point}: the second run left another directory, or {leftovers(root)}")
        shutil.rmtree(root)
    Path(report).write_text(json.dumps({"walked": len(points), "total": total, "faults": faults}))


def _meets(spec: Spec, root: Path, point: int, number: int, *, for_good: bool) -> None:
    """A run that meets the fault ends with one line that names it, and with nothing half-written under its name."""
    try:
        with broken_disk(point, number, for_good=for_good):
            make_dataset(spec, root, engine=EchoEngine())
    except LatentextError as error:
        kind = DiskFullError if number == errno.ENOSPC else DatasetError
        assert isinstance(error, kind), repr(error)
        assert FAULTS[number] in str(error), str(error)
        assert str(root) in (error.where or ""), error.where
    if (root / "spec.yaml").exists() and (root / "provenance.json").exists():
        shards = {f"{n:05d}" for n in range(2)}
        named = {finding.path for finding in verify_files(root) if Path(finding.path).name[:5] in shards}
        described = [name for name in named if not name.endswith(".parquet")]
        assert described == [], described  # A table without a receipt may be there; a receipt is always true.


@pytest.mark.slow
def test_an_error_at_any_change_to_the_disk_is_one_line_and_the_run_goes_on_to_the_same_bytes(
    stories260k: Path, tmp_path: Path
) -> None:
    """No space, input/output error and read-only in turn, once or for good; every nineteenth or second change."""
    with in_memory(tmp_path) as folder:
        report = folder / "report.json"
        assert finish(call(_walk_faults, str(stories260k), str(folder), str(report)), 3000) == 0
        found = json.loads(report.read_text())
    assert found["walked"] >= 10
    assert found["total"] > 150
    assert found["faults"] == []
