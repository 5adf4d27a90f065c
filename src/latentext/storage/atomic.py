"""Files that appear under their name complete, or not at all.

A run may be killed at any instant, so no reader may ever meet half a file under a final name. A file is written in
the folder where it belongs under a name that begins with "." (all readers pass over those), synced, and renamed;
then the folder is synced, so that the rename outlives a power cut too. Size and sha256 are computed from the bytes on
their way to the disk: they are what a receipt states, and reading the file back would only tell what the disk made
of it.

What a killed process leaves under a temporary name is removed by `sweep`. The name says who writes it (process and its
start): a temporary of a living process on this machine is never touched, one of a dead process goes at once, one of
another machine (of which nothing can be asked) when nobody has written to it for a day.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from latentext.errors import DatasetError, LatentextError
from latentext.storage import filesystem
from latentext.storage.interrupts import interrupts_put_off
from latentext.storage.liveness import process_start, this_machine

_BUFFER_BYTES = 4 << 20
_BUFFERS_BEHIND = 4
"""Buffers that may wait for their hash: the memory that a pending file may hold."""

_WORTH_A_THREAD_BYTES = 1 << 18
_COPIED_BELOW_BYTES = 1 << 16

_ABANDONED_AFTER_SECONDS = 24 * 3600
_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)(-(?P<started>[0-9a-z]+))?-[0-9a-f]{8}\.tmp"
)


class PendingFile:
    """A file being written beside its place: `write`, then `commit` or `discard`.

    It has as much of Python's file interface as pyarrow needs to write into it. Use `atomic_file` unless several
    files must appear together, as the parts of one shard's states do.

    Large files are hashed by a second thread while the disk takes the same bytes: one after the other would halve the
    speed of a fast disk. The thread may fall a few buffers behind, and catches up while the file is synced.

    Nothing is on the disk before `open`, or the first write: whoever holds this object can `discard` what there is.

    Attributes:
        path: where the file will stand.
        size: bytes written so far.
    """

    def __init__(self, path: Path):
        self.path = path
        self.size = 0
        self._temporary = path.with_name(temporary_name(path.name))
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._hasher: ThreadPoolExecutor | None = None
        self._unhashed: deque[Future[None]] = deque()
        self._descriptor: int | None = None
        self._finished = False

    @property
    def sha256(self) -> str:
        """Hash of the file, in hexadecimal, once it is finished."""
        return self._hash.hexdigest()

    @property
    def closed(self) -> bool:
        return self._finished

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self.size

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take all of `data`; small pieces are gathered before they go to the disk."""
        view = memoryview(data).cast("B")
        self.size += len(view)
        if len(self._buffer) + len(view) > _BUFFER_BYTES:
            self.flush()
        if len(view) > _BUFFER_BYTES:
            try:
                self._hash_and_write(view)
            finally:
                self._catch_up()  # The caller may change the bytes as soon as we return.
        else:
            self._buffer += view
        return len(view)

    def write_unchanging(self, data: memoryview) -> None:
        """Take bytes that the caller leaves as they are until `finish`: large pieces are not copied on their way."""
        view = memoryview(data).cast("B")
        if len(view) < _COPIED_BELOW_BYTES:
            self.write(view)
            return
        self.size += len(view)
        self.flush()
        self._hash_and_write(view)

    def flush(self) -> None:
        """Hand what is gathered to the operating system."""
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()  # Nobody else changes it, so its hash may come later.
            self._hash_and_write(memoryview(buffer))
            while len(self._unhashed) > _BUFFERS_BEHIND:
                self._unhashed.popleft().result()

    def _hash_and_write(self, view: memoryview) -> None:
        descriptor = self.open()
        if len(view) < _WORTH_A_THREAD_BYTES and not self._unhashed:  # Most files are small.
            self._hash.update(view)
        else:
            self._hasher = self._hasher or ThreadPoolExecutor(1, thread_name_prefix="latentext-sha256")
            self._unhashed.append(self._hasher.submit(self._hash.update, view))
        filesystem.write(descriptor, view, self.path)

    def open(self) -> int:
        """Make the file under its temporary name, unless it is there; returns its descriptor."""
        if self._finished:
            raise ValueError(f"{self.path.name} is already finished")
        if self._descriptor is None:
            self._descriptor = filesystem.create(self._temporary)
        return self._descriptor

    def finish(self) -> None:
        """Bring all bytes to the disk and close; the file keeps its temporary name until `commit`."""
        if self._finished:
            return
        self.flush()
        descriptor = self.open()
        filesystem.sync(descriptor, self.path)
        self._finished, self._descriptor = True, None
        self._stop_hasher()
        filesystem.close(descriptor, self.path)

    def commit(self) -> None:
        """Finish, and give the file its name for good."""
        self.finish()
        filesystem.replace(self._temporary, self.path)
        filesystem.sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove the temporary file; a file that stood under the final name is left as it was."""
        descriptor, self._descriptor, self._finished = self._descriptor, None, True
        self._stop_hasher()
        if descriptor is not None:
            os.close(descriptor)
        filesystem.remove(self._temporary)

    def _catch_up(self) -> None:
        while self._unhashed:
            self._unhashed.popleft().result()

    def _stop_hasher(self) -> None:
        self._catch_up()
        if self._hasher is not None:
            self._hasher.shutdown()


@contextmanager
def atomic_file(path: Path) -> Iterator[PendingFile]:
    """Write a file that appears under `path` when the block ends, and not at all when it raises.

    Raises:
        DiskFullError: the disk is full; nothing stands under `path` that was not there before.
        DatasetError: the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "greeting.txt")
        >>> with atomic_file(path) as file:
        ...     _ = file.write(b"hello")
        >>> path.read_text(), file.size, file.sha256[:8]
        ('hello', 5, '2cf24dba')
    """
    file = PendingFile(path)
    try:
        file.open()
        yield file
        file.commit()
    except BaseException:
        file.discard()
        raise


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder that appears under `path` when the block ends, and not at all when it raises.

    Files in it should be synced by whoever writes them (`atomic_file` does).

    Raises:
        DatasetError: something stands under `path` already and `overwrite` is off.
    """
    if not overwrite and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DatasetError("already exists", where=str(path), remedy="choose another place, or say to overwrite it")
    filesystem.make_folder(path.parent)
    temporary = path.with_name(temporary_name(path.name))
    try:
        filesystem.make_folder(temporary)
        yield temporary
        filesystem.sync_folder(temporary)
        if path.is_dir() and not path.is_symlink():
            # A folder that holds something cannot be replaced in one step: it steps aside first.
            before = path.with_name(temporary_name(path.name))
            filesystem.replace(path, before)
            filesystem.replace(temporary, path)
            filesystem.remove_folder(before)
        else:
            filesystem.replace(temporary, path)
        filesystem.sync_folder(path.parent)
    except BaseException:
        filesystem.remove_folder(temporary)
        raise


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder where the system keeps temporary files (``TMPDIR``), removed when the block ends.

    A killed process leaves its folder; the next call of the same purpose removes it, as `sweep` does beside outputs.

    Example:
        >>> with temporary_folder("example") as folder:
        ...     folder.is_dir()
        True
        >>> folder.exists()
        False
    """
    place, name = Path(tempfile.gettempdir()), f"latentext-{purpose}"
    for entry in place.glob(f".{name}.*.tmp"):
        # Other users' folders lie here too, and of another machine's nothing says that they are not in use.
        with suppress(FileNotFoundError):
            if entry.lstat().st_uid == os.geteuid() and f".{this_machine()}-" in entry.name and _is_abandoned(entry):
                filesystem.remove_folder(entry)
    folder = place / temporary_name(name)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        filesystem.remove_folder(folder)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole small file atomically."""
    with atomic_file(path) as file:
        file.write(data)


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is unfinished work, which readers pass over."""
    return _TEMPORARY.fullmatch(name) is not None


def temporary_name(name: str) -> str:
    """A name for unfinished work on `name`, which tells whose work it is and is never given twice."""
    process = os.getpid()
    writer = "-".join(filter(None, (this_machine(), str(process), process_start(process))))
    return f".{name}.{writer}-{uuid.uuid4().hex[:8]}.tmp"


def file_system_now(folder: Path) -> float:
    """The present by the clock that stamps files there: two machines' own clocks may differ by minutes."""
    probe = folder / temporary_name("now")
    try:
        with interrupts_put_off():
            filesystem.create_with(probe, b"")
            now = probe.stat().st_mtime
            filesystem.remove(probe)
    except LatentextError:  # Someone only reads here, or the disk is full: our own clock has to do.
        return time.time()
    return now


def sweep(directory: Path, *, below: bool = True) -> list[Path]:
    """Remove what dead processes left under temporary names; return what was removed.

    Symbolic links are not followed. Safe while other processes write to the directory.

    Args:
        below: also in the folders of `directory`, which a folder that others share should not be searched for.
    """
    removed = []
    for folder, folder_names, file_names in os.walk(directory, followlinks=False):
        for name in [*folder_names, *file_names]:
            # Most are none, and a million texts have thirty thousand files: a path of each takes a third of a second.
            if is_temporary(name) and _is_abandoned(path := Path(folder, name)):
                if name in folder_names:
                    folder_names.remove(name)
                    filesystem.remove_folder(path)
                else:
                    filesystem.remove(path)
                removed.append(path)
        if not below:
            break
    return removed


def _is_abandoned(path: Path) -> bool:
    written_by = _TEMPORARY.fullmatch(path.name)
    if written_by is None:
        return False
    if written_by["machine"] == this_machine():
        start = process_start(int(written_by["process"]))
        # A name without a start is of an earlier version; then a living process of that number has to pass for its own.
        return start != (written_by["started"] or start) or not start
    try:
        # A folder's own time stays while the files in it grow.
        written = max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
    except FileNotFoundError:  # Its writer finished between our listing and this look.
        return False
    return file_system_now(path.parent) - written > _ABANDONED_AFTER_SECONDS
