"""Files appear whole or not at all, and what dead processes left is removed."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentext.errors import DatasetError, DiskFullError
from latentext.storage import filesystem
from latentext.storage.atomic import PendingFile, atomic_file, atomic_folder, is_temporary, sweep, temporary_name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    with atomic_file(path) as file:
        file.write(b"one")
        assert not path.exists()
        assert [is_temporary(name) for name in names(tmp_path)] == [True]
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("pieces", [[b""], [b"a" * 10], [b"x" * 2**22, b"y"], [b"a", b"b" * (5 * 2**20), b"c"] * 2])
def test_size_and_hash_are_those_of_the_bytes_on_the_disk(tmp_path: Path, pieces: list[bytes]) -> None:
    path = tmp_path / "data.bin"
    with atomic_file(path) as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
    written = path.read_bytes()
    assert written == b"".join(pieces)
    assert (file.size, file.sha256) == (len(written), hashlib.sha256(written).hexdigest())


def test_an_error_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as file:
        file.write(b"after")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("call", ["write", "sync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_with_one_line_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    system_call = {"write": "write", "sync": "fsync", "replace": "replace"}[call]

    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "data.bin"
    path.write_bytes(b"before")
    message = r"data\.bin: the disk is full \([\d,.]+ MiB free\); free some space"
    with pytest.raises(DiskFullError, match=message), atomic_file(path) as file:
        file.write(b"after")
        monkeypatch.setattr(Path if call == "replace" else os, system_call, full)
    monkeypatch.undo()
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["data.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_the_systems_own_full_device_is_a_full_disk() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(DiskFullError):
            filesystem.write(descriptor, b"x" * 10_000, Path("/dev/full"))
    finally:
        os.close(descriptor)


def test_a_folder_that_is_missing_or_closed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent.*: cannot write: No such file or directory"):
        PendingFile(tmp_path / "absent" / "data.bin").open()


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    with atomic_file(tmp_path / "data.bin") as file:
        file.write(b"0123456789" * 5)
    assert (tmp_path / "data.bin").read_bytes() == b"0123456789" * 5


def test_several_files_appear_together(tmp_path: Path) -> None:
    files = [PendingFile(tmp_path / name) for name in ("a", "b")]
    for file in files:
        file.write(file.path.name.encode())
        file.finish()
    assert all(is_temporary(name) for name in names(tmp_path))
    files[0].commit()
    files[1].discard()
    assert names(tmp_path) == ["a"]


_KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from latentext.storage.atomic import PendingFile, atomic_file, atomic_folder
folder = Path(sys.argv[1])
with atomic_folder(folder / "export") as export, atomic_file(folder / "data.bin") as file:
    inner = PendingFile(export / "inner.bin")
    inner.write(b"x" * 2**23)
    file.write(b"x" * 2**23)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_passed_over_and_swept(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, str(tmp_path)], check=False)
    assert killed.returncode == -9
    left = names(tmp_path)
    assert len(left) == 2
    assert all(is_temporary(name) for name in left)
    assert len(sweep(tmp_path)) == 2
    assert names(tmp_path) == []


def test_a_sweep_leaves_the_work_of_living_processes_and_files_of_other_names(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    file = PendingFile(tmp_path / "deep" / "data.bin")
    file.open()
    other_machine = tmp_path / f".data.bin.00000000-{os.getpid()}-0123abcd.tmp"
    other_machine.write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "data.tmp").write_bytes(b"")
    assert sweep(tmp_path) == []
    yesterday = time.time() - 2 * 24 * 3600
    os.utime(other_machine, (yesterday, yesterday))
    assert sweep(tmp_path) == [other_machine]
    file.discard()


def test_a_sweep_does_not_follow_symbolic_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    dead = outside / temporary_name("data.bin").replace(f"-{os.getpid()}-", "-4194305-")
    dead.write_bytes(b"")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    assert sweep(inside) == []
    assert dead.exists()
    assert sweep(outside) == [dead]


def test_a_folder_appears_whole_and_replaces_another_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "export"
    for content in ("first", "second"):
        with atomic_folder(path, overwrite=content == "second") as folder:
            (folder / f"{content}.txt").write_text(content)
            assert not (path / f"{content}.txt").exists()
        assert names(path) == [f"{content}.txt"]
    with pytest.raises(DatasetError, match="export: already exists"), atomic_folder(path):
        pytest.fail("the block must not run")
    with pytest.raises(KeyError), atomic_folder(path, overwrite=True) as folder:
        raise KeyError
    assert names(path) == ["second.txt"]
    assert names(path.parent) == ["export"]


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    filesystem.make_folder(tmp_path / "a" / "b")
    filesystem.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match="file"):
        filesystem.make_folder(tmp_path / "file")
