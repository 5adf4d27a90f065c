"""The how-manyth of its kind each request is, found without holding all requests in memory.

The digests of all prompts lie in one file. They are dealt into buckets by value, so that equal ones meet in the same
bucket; a bucket is counted in one pass over the file, and holds at most some half a million different digests. Plans up
to that size need a single pass. Only requests that repeat an earlier prompt are written down: as a rule, none.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from io import FileIO
from pathlib import Path

import numpy as np

from latentext.plan.keys import NO_PROMPT
from latentext.storage import filesystem
from latentext.storage.atomic import atomic_file

_BUCKET = 1 << 19
_CHUNK = 1 << 20
_COUNT = np.dtype("<u4")
_PAIR = np.dtype("<u8")


def write_occurrences(digests: np.ndarray, target: Path, *, bucket: int = _BUCKET, chunk: int = _CHUNK) -> str:
    """Write pairs (index, occurrence), uint64, in order of index, of all requests whose occurrence is not 0.

    Args:
        digests: uint64 [requests], usually memory-mapped; `NO_PROMPT` is never counted.
        target: the file to write.
        bucket, chunk: how many digests are held, and read at a time.

    Returns:
        The file's sha256.

    Raises:
        DiskFullError: no room.
    """
    buckets = max(1, -(-len(digests) // bucket))
    with tempfile.TemporaryFile(dir=target.parent) as scratch:  # Has no name: a killed process leaves nothing.
        scratch.truncate(len(digests) * _COUNT.itemsize)
        for number in range(buckets):
            _count_bucket(digests, number, buckets, chunk, scratch.fileno(), target)
        with atomic_file(target) as file:
            for start in range(0, len(digests), chunk):
                counts = _read_counts(scratch.fileno(), start, min(chunk, len(digests) - start))
                places = np.flatnonzero(counts)
                file.write(np.stack([places + start, counts[places]], axis=1).astype(_PAIR).tobytes())
    return file.sha256


def read_occurrences(path: Path, start: int, stop: int) -> np.ndarray:
    """The occurrence of each of the requests `start` … `stop` - 1, int64 [stop - start]."""
    occurrences = np.zeros(stop - start, dtype=np.int64)
    with filesystem.open_regular(path) as file:
        pairs = _mapped(file)
    if len(pairs):
        first, last = np.searchsorted(pairs[:, 0], np.array([start, stop], dtype=_PAIR))
        occurrences[pairs[first:last, 0].astype(np.int64) - start] = pairs[first:last, 1]
    return occurrences


def occurrences_sha256(path: Path, count: int) -> str:
    """Hash of the pairs of the first `count` requests: those behind are of a plan that was about to grow."""
    with filesystem.open_regular(path) as file:
        if os.fstat(file.fileno()).st_size % (2 * _PAIR.itemsize):
            return hashlib.file_digest(file, "sha256").hexdigest()
        pairs = _mapped(file)
    return hashlib.sha256(pairs[: np.searchsorted(pairs[:, 0], np.uint64(count))].data).hexdigest()


def _mapped(file: FileIO) -> np.ndarray:
    """The pairs of an open file, uint64 [n, 2]; a file of no bytes cannot be mapped."""
    if not os.fstat(file.fileno()).st_size:
        return np.empty((0, 2), _PAIR)
    return np.memmap(file, dtype=_PAIR, mode="r").reshape(-1, 2)


def _count_bucket(digests: np.ndarray, number: int, buckets: int, chunk: int, scratch: int, target: Path) -> None:
    """Count the digests of one bucket from first to last, and note the counts above 0 in the scratch file."""
    seen, totals = np.empty(0, dtype=digests.dtype), np.empty(0, dtype=np.int64)
    for start in range(0, len(digests), chunk):
        block = np.asarray(digests[start : start + chunk])
        places = np.flatnonzero((block % buckets == number) & (block != NO_PROMPT))
        values, inverse, counts = np.unique(block[places], return_inverse=True, return_counts=True)
        before = _totals_of(values, seen, totals)
        occurrences = before[inverse] + _ranks(inverse)
        if occurrences.any():
            noted = _read_counts(scratch, start, len(block))
            noted[places] = occurrences
            os.lseek(scratch, start * _COUNT.itemsize, os.SEEK_SET)
            filesystem.write(scratch, noted.tobytes(), target)
        if start + chunk < len(digests):
            kept = ~np.isin(seen, values, assume_unique=True)
            merged, merged_totals = np.append(seen[kept], values), np.append(totals[kept], before + counts)
            order = np.argsort(merged)
            seen, totals = merged[order], merged_totals[order]


def _totals_of(values: np.ndarray, seen: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """How often each value was met before; `seen` is sorted."""
    if not len(seen):
        return np.zeros(len(values), dtype=np.int64)
    places = np.minimum(np.searchsorted(seen, values), len(seen) - 1)
    return np.where(seen[places] == values, totals[places], 0)


def _ranks(inverse: np.ndarray) -> np.ndarray:
    """For each element, how many equal ones stand before it."""
    order = np.argsort(inverse, kind="stable")
    in_order = inverse[order]
    ranks = np.empty(len(inverse), dtype=np.int64)
    ranks[order] = np.arange(len(inverse)) - np.searchsorted(in_order, in_order)
    return ranks


def _read_counts(scratch: int, start: int, length: int) -> np.ndarray:
    data = os.pread(scratch, length * _COUNT.itemsize, start * _COUNT.itemsize)
    return np.frombuffer(bytearray(data), dtype=_COUNT)
