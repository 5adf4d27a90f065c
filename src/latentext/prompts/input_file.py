"""A file of prompts as it lies on the disk: what identifies it, and a plain copy where it is compressed.

The identity is size and sha256, taken in full when the file is first read. Later runs compare the size and a sample
of blocks, which costs milliseconds whatever the size; an edit that the sample misses is found when a shard's prompts
do not fit the digests in the plan.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from latentext.dataset.atomic import atomic_file
from latentext.errors import SpecError

_BLOCK = 1 << 16
_SAMPLED_BLOCKS = 64
_INFLATED_BLOCK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_SHARE_OF_FREE_DISK = 0.5
_SUSPICIOUS_RATIO, _RATIO_FROM_BYTES = 250, 64 << 20


@dataclass(frozen=True, slots=True)
class Glance:
    """What can be seen of a file in milliseconds: its size in bytes, and the sha256 of 64 blocks spread over it."""

    size: int
    sample_sha256: str


def glance(path: Path) -> Glance:
    """Look at a file; up to 4 MiB the sample is the whole file.

    Raises:
        SpecError: missing or unreadable.
    """
    total = hashlib.sha256()
    with open_input(path) as file:
        size = path.stat().st_size
        blocks = -(-size // _BLOCK)
        for place in range(min(blocks, _SAMPLED_BLOCKS)):
            file.seek(place * blocks // min(blocks, _SAMPLED_BLOCKS) * _BLOCK)
            total.update(file.read(_BLOCK))
    return Glance(size, total.hexdigest())


def open_input(path: Path) -> BufferedReader:
    """Open a file of prompts for reading bytes.

    Raises:
        SpecError: missing or unreadable.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise SpecError("no such file", where=str(path), remedy="check prompts.file") from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", where=str(path), remedy="check prompts.file") from None


def file_sha256(path: Path) -> str:
    """Sha256 of a whole file."""
    with open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_gzip(path: Path) -> bool:
    with open_input(path) as file:
        return file.read(2) == _GZIP_MAGIC


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
