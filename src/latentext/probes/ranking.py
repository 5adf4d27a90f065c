"""Rows in the order of a number, however many they are: sorted runs on the disk, merged range by range.

Rank correlation and AUC need all predictions in order. Runs of a bounded size are sorted in memory and written to one
temporary file. To merge them, every `_STEP`-th key of each run is kept; boundaries among these cut all runs into ranges
of keys that fit the memory, and each range is read, sorted and handed out. Keys that are equal to a boundary need no
sorting and may be any number. The order is exact, ties included. Of the rows, memory holds 8 bytes for every 4,096.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentext.probes.on_disk import DiskRows

Doubles = npt.NDArray[np.float64]

_RUN = 1 << 17
_STEP = 1 << 12


@dataclass(frozen=True)
class _Run:
    """Pairs `begin` … `stop` - 1 of the file, in order; `keys` are those at begin, begin + step, …"""

    begin: int
    stop: int
    keys: Doubles


class Sorter:
    """Pairs (key, value) handed out in the order of their keys.

    Args:
        run: pairs that are sorted in memory at a time.

    Example:
        >>> pairs = Sorter()
        >>> pairs.add(np.array([3.0, 1.0, 3.0]), np.array([0.0, 1.0, 2.0]))
        >>> [block.tolist() for block in pairs.ascending()]
        [[[1.0, 1.0], [3.0, 0.0], [3.0, 2.0]]]
        >>> [(values.tolist(), ranks.tolist()) for values, ranks in pairs.ranked()]
        [([1.0, 0.0, 2.0], [1.0, 2.5, 2.5])]
    """

    def __init__(self, run: int = _RUN, step: int = _STEP):
        self._run, self._step = run, step
        self._waiting: list[Doubles] = []
        self._count = 0
        self._runs: list[_Run] = []
        self._file = DiskRows(2)

    def add(self, keys: Doubles, values: Doubles) -> None:
        """Take pairs; no key is NaN."""
        for begin in range(0, len(keys), self._run):
            piece = slice(begin, begin + self._run)
            self._waiting.append(np.column_stack([keys[piece], values[piece]]).astype(np.float64))
            self._count += len(self._waiting[-1])
            if self._count >= self._run:
                self._write_run()

    def ascending(self) -> Iterator[Doubles]:
        """All pairs [n, 2] by their keys, in blocks; equal keys may be cut apart."""
        for block, _ in self._pieces():
            yield block

    def ranked(self) -> Iterator[tuple[Doubles, Doubles]]:
        """(values [n], ranks from 1 [n]) in the order of the keys; equal keys share the mean of their ranks."""
        below, tied = 0, 0
        for block, ties in self._pieces():
            if ties:  # A piece of `ties` equal keys, all of which have one rank.
                yield block[:, 1], np.full(len(block), below + (ties + 1) / 2)
                tied += len(block)
                if tied == ties:
                    below, tied = below + ties, 0
            else:
                yield block[:, 1], below + average_ranks(block[:, 0])
                below += len(block)

    def _write_run(self) -> None:
        pairs = np.concatenate(self._waiting)
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        begin = len(self._file)
        self._file.append(pairs)
        self._runs.append(_Run(begin, len(self._file), pairs[:: self._step, 0].copy()))
        self._waiting, self._count = [], 0

    def _pieces(self) -> Iterator[tuple[Doubles, int]]:
        """Pairs in order, and for a piece of equal keys that may go on in the next piece how many they are, else 0."""
        if self._count:
            self._write_run()
        before = [run.begin for run in self._runs]
        for boundary in self._boundaries():
            first, last = ([self._place(run, boundary, side) for run in self._runs] for side in ("left", "right"))
            yield from self._between(before, first)
            ties = sum(last) - sum(first)
            for begin, stop in zip(first, last, strict=True):
                for start in range(begin, stop, self._run):
                    yield self._file.read(start, min(start + self._run, stop)), ties
            before = last
        yield from self._between(before, [run.stop for run in self._runs])

    def _between(self, begins: list[int], stops: list[int]) -> Iterator[tuple[Doubles, int]]:
        pairs = np.concatenate([np.empty((0, 2)), *(self._file.read(*b) for b in zip(begins, stops, strict=True))])
        if len(pairs):
            yield pairs[np.argsort(pairs[:, 0], kind="stable")], 0

    def _boundaries(self) -> list[float]:
        """Keys between which there are about as many pairs as in a run; none where there is one run."""
        if len(self._runs) < 2:
            return []
        keys = np.sort(np.concatenate([run.keys for run in self._runs]))
        return [float(key) for key in np.unique(keys[:: max(1, self._run // self._step)])]

    def _place(self, run: _Run, key: float, side: str) -> int:
        """Where in the file a key would stand in a run; one step of it is read."""
        step = int(np.searchsorted(run.keys, key, side="left" if side == "left" else "right"))
        if step == 0:
            return run.begin
        begin = run.begin + (step - 1) * self._step
        keys = self._file.read(begin, min(begin + self._step, run.stop))[:, 0]
        return begin + int(np.searchsorted(keys, key, side="left" if side == "left" else "right"))


def average_ranks(values: Doubles) -> Doubles:
    """Ranks from 1; equal values share the mean of theirs.

    Example:
        >>> average_ranks(np.array([3.0, 1.0, 3.0])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[which], np.float64)
