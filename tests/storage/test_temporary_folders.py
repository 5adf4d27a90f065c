"""Folders in the system's temporary place: gone when their work is done, and after a kill with the next such work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from latentext.storage.atomic import sweep, temporary_folder, temporary_name
from latentext.storage.liveness import this_machine

DEAD = f"{this_machine()}-4194305-1-0123abcd"
"""No Linux gives a process such a number."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_the_users_alone_and_goes_with_its_work(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt), temporary_folder("plan") as folder:
        assert folder.parent == place and folder.stat().st_mode & 0o777 == 0o700
        (folder / "half").write_text("done")
        raise KeyboardInterrupt
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_and_nothing_else_does(place: Path) -> None:
    dead = place / f".latentext-plan.{DEAD}.tmp"
    kept = [
        place / temporary_name("latentext-plan"),  # of this process, which lives
        place / ".latentext-plan.ffffffff-4194305-1-0123abcd.tmp",  # of another machine that shares the disk
        place / f".latentext-pairs.{DEAD}.tmp",  # of another purpose
        place / f".thesis.{DEAD}.tmp",
        place / "latentext-plan",
    ]
    for folder in (dead, *kept):
        folder.mkdir()
        (folder / "file").write_text("x")
    with temporary_folder("plan"):
        assert not dead.exists() and all((folder / "file").exists() for folder in kept)


def test_a_folder_of_another_machine_is_kept_while_the_files_in_it_grow(tmp_path: Path) -> None:
    folder = tmp_path / ".npy.ffffffff-77-1-0123abcd.tmp"
    folder.mkdir()
    (folder / "states.npy").write_text("x")
    long_ago = (folder / "states.npy").stat().st_mtime - 3 * 24 * 3600
    os.utime(folder, (long_ago, long_ago))
    assert sweep(tmp_path, below=False) == []
    os.utime(folder / "states.npy", (long_ago, long_ago))
    os.utime(folder, (long_ago, long_ago))
    assert sweep(tmp_path, below=False) == [folder]


def test_a_sweep_beside_an_output_looks_into_no_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner" / f".x.{DEAD}.tmp"
    inner.parent.mkdir()
    inner.write_text("x")
    (tmp_path / f".y.{DEAD}.tmp").write_text("y")
    assert [path.name for path in sweep(tmp_path, below=False)] == [f".y.{DEAD}.tmp"]
    assert inner.exists() and sweep(tmp_path) == [inner]
