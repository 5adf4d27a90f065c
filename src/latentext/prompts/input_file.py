"""A file of prompts as it lies on the disk: what identifies it, and a plain copy where it is compressed.

The identity is size and sha256 of all of it. A later run hashes the file again, unless the disk says that nobody
touched it: size, times and inode are those of the file that was hashed. A file up to 4 MiB is always hashed, which
takes milliseconds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from latentext.errors import SpecError
from latentext.storage.atomic import atomic_file, write_bytes
from latentext.storage.filesystem import open_regular, read_bytes

_SMALL_BYTES = 4 << 20
_AT_REST_NS = 2_000_000_000
"""A file that changes twice within one tick of the disk's clock keeps its times. Coarse clocks tick in seconds."""

SAVE_AS_UTF8 = "save it as UTF-8"
LONGEST_RECORD = 8 << 20
"""Bytes of a record, and of a line of a CSV or TSV file."""

_HEAD_BYTES = 4096
_OTHER_KINDS = {
    b"\xff\xfe": ("UTF-16", SAVE_AS_UTF8),
    b"\xfe\xff": ("UTF-16", SAVE_AS_UTF8),
    b"PAR1": ("Parquet", "give prompts.file.format: parquet, or name it .parquet"),
    b"PK\x03\x04": ("a ZIP archive, as Excel's sheets are", "save the table as CSV"),
}
"""By their first bytes: what a file is, and what to do."""

_INFLATED_BLOCK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_SHARE_OF_FREE_DISK = 0.5
_SUSPICIOUS_RATIO, _RATIO_FROM_BYTES = 250, 64 << 20


@dataclass(frozen=True, slots=True)
class FileState:
    """What the file system says of a file; writing to it, or another file in its place, changes this.

    Nobody but the file system sets `changed_ns`, so a copy that keeps the time of modification has another one.
    """

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """The state of a file.

        Raises:
            SpecError: missing or unreadable.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from None
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def remember(self, note: Path, sha256: str) -> None:
        """Note that the file in this state has this hash, so that `remembered` finds it."""
        young = time.time_ns() - max(self.modified_ns, self.changed_ns) < _AT_REST_NS
        if self.size > _SMALL_BYTES and not young and not self.remembered(note, sha256):
            write_bytes(note, json.dumps({"sha256": sha256, **asdict(self)}).encode() + b"\n")

    def remembered(self, note: Path, sha256: str) -> bool:
        """Whether the file had this hash in exactly this state."""
        try:
            return bool(json.loads(read_bytes(note)) == {"sha256": sha256, **asdict(self)})
        except (OSError, ValueError, RecursionError):
            return False


def open_input(path: Path) -> BufferedReader:
    """Open a file of prompts for reading bytes.

    Raises:
        SpecError: missing, unreadable, or a pipe or device.
    """
    try:
        return BufferedReader(open_regular(path))
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> SpecError:
    what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    return SpecError(what, where=str(path), remedy="check prompts.file")


def file_sha256(path: Path) -> str:
    """Sha256 of a whole file."""
    with open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_gzip(path: Path) -> bool:
    with open_input(path) as file:
        return file.read(2) == _GZIP_MAGIC


def refuse_other_kinds(file: BufferedReader, source: Path) -> None:
    """Refuse a file that is no text in UTF-8 by what it begins with; leaves it at its begin.

    Raises:
        SpecError: says what the file is.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    for magic, (what, remedy) in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise SpecError(f"the file is {what}", where=str(source), remedy=remedy)
    if b"\0" in head:
        what = "the file has zero bytes: it is UTF-16, or no text"
        raise SpecError(what, where=str(source), remedy=SAVE_AS_UTF8)
    if _breaks_lines_by_cr(file, head):
        what = "its lines end in CR alone, as on old Macs"
        raise SpecError(what, where=str(source), remedy=r"save it with LF line ends: tr '\r' '\n' < OLD > NEW")


def _breaks_lines_by_cr(file: BufferedReader, head: bytes) -> bool:
    """Whether there are carriage returns between lines and no line feed, as far as one record may reach."""
    if b"\n" in head or b"\r" not in head.rstrip(b"\r"):
        return False
    first = file.readline(LONGEST_RECORD)
    file.seek(0)
    return not first.endswith(b"\n")


def decompress(source: Path, target: Path, *, limit: int | None = None) -> None:
    """Unpack a gzip file into `target`, streaming.

    A gzip file can grow a thousandfold, so what comes out is limited: to half of the free disk, and to 250 times the
    file's size once more than 64 MiB have come.

    Args:
        limit: bytes that may come out; default is half of the free disk.

    Raises:
        SpecError: damaged, or larger than the limit.
        DiskFullError: the disk is full all the same.
    """
    if limit is None:
        limit = int(shutil.disk_usage(target.parent).free * _SHARE_OF_FREE_DISK)
    limit = min(limit, max(_RATIO_FROM_BYTES, _SUSPICIOUS_RATIO * source.stat().st_size))
    with open_input(source) as packed, atomic_file(target) as unpacked:
        for block in _inflated(packed, source):
            unpacked.write(block)
            if unpacked.size > limit:
                raise SpecError(
                    f"unpacks to more than {limit / 1e9:.1f} GB, too much for the disk or for a text of its size",
                    where=str(source),
                    remedy="unpack it by hand",
                )


def _inflated(packed: BinaryIO, source: Path) -> Iterator[bytes]:
    stream = gzip.GzipFile(fileobj=packed)
    while True:
        try:
            block = stream.read(_INFLATED_BLOCK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SpecError(f"damaged gzip file: {error}", where=str(source), remedy="fetch it again") from None
        if not block:
            return
        yield block
