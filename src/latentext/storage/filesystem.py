"""The one door to the disk: every call by which dataset code changes it, and the one way in which files are opened to
be read.

A crash between any two of these calls must leave a directory that a later run can continue. Keeping them in one small
module lets a test count them, stop the process before each in turn, and so walk through every crash window. It is
also the one place where the operating system's words become ours: a full disk is a DiskFullError, all else that
forbids writing a DatasetError. Callers use them as ``filesystem.write(...)`` so that a test can wrap them.

A reader meets whatever somebody put under the name of a file. `open_regular` opens regular files (through a link too)
and nothing else: a FIFO would keep a reader waiting, a device might never end, and some do something when opened. What
is not regular, or larger than its kind of file can be, is an OSError, as a file that is missing is.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path

from latentext.errors import DatasetError, DiskFullError

DOCUMENT_BYTES = 16 << 20
"""The most that a document of a few facts may hold, such as `metadata.json` or a lease."""

RECEIPT_BYTES = 256 << 20
"""The most that a receipt may hold, which lists every failure of its shard."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_REGULAR = "not a regular file"


def open_regular(path: Path) -> FileIO:
    """Open a regular file for reading, unbuffered; a symbolic link is followed.

    Raises:
        OSError: it is missing or cannot be read; or it is no regular file, which its `strerror` then says.

    Example:
        >>> open_regular(Path("/dev/null"))
        Traceback (most recent call last):
            ...
        OSError: [Errno 22] not a regular file: '/dev/null'
    """
    _refuse_irregular(path, path.stat().st_mode)  # Opening a device may already do something.
    # By now another file may have the name: opened without waiting, and looked at through the descriptor.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_irregular(path, os.fstat(descriptor).st_mode)
        return FileIO(descriptor, "r")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int = DOCUMENT_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        most: the bytes that it may hold: a file that somebody made huge must not fill the memory.

    Raises:
        OSError: as `open_regular`, or the file is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= most else b""
        if len(data) > size:  # It grows, or does not state its size, as files of the kernel do.
            data += BufferedReader(file).read(most - size)
    if max(size, len(data)) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB", str(path))
    return data


def _refuse_irregular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, _NOT_REGULAR, str(path))


def create(path: Path) -> int:
    """Open a new file for writing (an existing one is an error) and return its descriptor."""
    with _in_our_words(path):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def create_with(path: Path, data: bytes) -> bool:
    """Make a small file with this content; False, and nothing changed, if one of that name is there already."""
    with _in_our_words(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return False
    try:
        write(descriptor, data, path)
    except BaseException:
        remove(path)
        raise
    finally:
        os.close(descriptor)
    return True


def write(descriptor: int, data: memoryview | bytes | bytearray, path: Path) -> None:
    """Write all of `data`; `path` is only for the error message."""
    remaining = memoryview(data).cast("B")
    with _in_our_words(path):
        while remaining:
            # write(2) may take only a part: at most 2 GiB at once, less when the disk is nearly full.
            remaining = remaining[os.write(descriptor, remaining) :]


def sync(descriptor: int, path: Path) -> None:
    """Return when the file's bytes are on the disk itself; some file systems report a full disk only here."""
    with _in_our_words(path):
        os.fsync(descriptor)


def close(descriptor: int, path: Path) -> None:
    """Close the file; network file systems may report a full disk here."""
    with _in_our_words(path):
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Give `source` the name `target` in one step, in place of whatever had that name."""
    with _in_our_words(target):
        source.replace(target)


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on the disk: without it a rename may be lost with the power."""
    with _in_our_words(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    with _in_our_words(path):
        path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, if it is there; a symbolic link is removed, never followed."""
    with _in_our_words(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents durably; one that is there already is left as it is."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with _in_our_words(new):
            new.mkdir(exist_ok=True)
        sync_folder(new.parent)


@contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"the disk is full ({_free_space(path)})",
                where=str(path),
                remedy="free some space, then give the same command again: it continues where it stopped",
            ) from error
        raise DatasetError(
            f"cannot write: {error.strerror or error}", where=str(path), remedy="check the folder and its permissions"
        ) from error


def _free_space(path: Path) -> str:
    """Free space in words, asked of the nearest folder that exists."""
    folder = path
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 2**20:,.1f} MiB free"
