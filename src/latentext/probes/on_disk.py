"""Numbers that would outgrow the memory, in an unnamed temporary file: rows of float64 appended in order and read back.

What is said of every test row, by every probe, is kept here until it has been judged. The file lies where the system
keeps temporary files (``TMPDIR``) and goes with the object, also when the process is killed. It is read and not
mapped: pages of a map that were touched count as memory of the process.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latentext.storage import filesystem

Doubles = npt.NDArray[np.float64]

_BYTES = 1 << 20
"""Bytes in memory at a time while all rows are read."""


class DiskRows:
    """Numbers [rows, columns] in a temporary file.

    Example:
        >>> kept = DiskRows(2)
        >>> kept.append(np.arange(6.0).reshape(3, 2))
        >>> len(kept), kept.read(1, 3).tolist()
        (3, [[2.0, 3.0], [4.0, 5.0]])
    """

    def __init__(self, columns: int):
        self._columns, self._rows = columns, 0
        self._file = tempfile.TemporaryFile(prefix="latentext-", buffering=0)  # noqa: SIM115 - it goes with the object.
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: Doubles) -> None:
        """Add rows [n, columns] behind the others.

        Raises:
            DiskFullError: there is no room for temporary files.
        """
        data = np.ascontiguousarray(rows, np.float64)
        filesystem.write(self._file.fileno(), data.reshape(-1).view(np.uint8).data, Path(tempfile.gettempdir()))
        self._rows += len(data)

    def read(self, begin: int, stop: int) -> Doubles:
        """Rows `begin` … `stop` - 1."""
        found = np.empty((stop - begin, self._columns))
        waiting, place = memoryview(found.reshape(-1).view(np.uint8).data), begin * self._columns * 8
        while waiting:
            count = os.preadv(self._file.fileno(), [waiting], place)
            waiting, place = waiting[count:], place + count
        return found

    def blocks(self) -> Iterator[Doubles]:
        """All rows in their order, about a mebibyte at a time."""
        step = max(1, _BYTES // (8 * self._columns))
        for begin in range(0, self._rows, step):
            yield self.read(begin, min(begin + step, self._rows))
