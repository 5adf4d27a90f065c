"""NumPy files written from first row to last, of any length in bounded memory.

`numpy.save` needs the whole array; a memory map written out of order leaves the speed of the disk to chance. The shape
is known before, so the header is written first and rows follow in one sequential stream.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from latentext.errors import DatasetError
from latentext.storage import filesystem


class NpyWriter:
    """Writes one ``.npy`` file of a known shape row by row; use it in a ``with`` block.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.npy")
        >>> with NpyWriter(path, (3, 2), np.float32) as file:
        ...     file.write(np.zeros((2, 2)))
        ...     file.write(np.ones((1, 2)))
        >>> np.load(path).tolist()
        [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike):
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._rows = 0
        header = io.BytesIO()
        description = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": description, "fortran_order": False, "shape": shape})
        self._descriptor: int | None = filesystem.create(path)
        filesystem.write(self._descriptor, header.getvalue(), path)

    def write(self, rows: npt.NDArray[Any]) -> None:
        """Append rows, converted to the file's type."""
        if self._descriptor is None or rows.shape[1:] != self.shape[1:]:
            raise ValueError(f"{self.path.name}: closed, or rows of shape {rows.shape[1:]} for {self.shape[1:]}")
        self._rows += len(rows)
        if len(rows):
            data = np.ascontiguousarray(rows, self.dtype).view(np.uint8)
            filesystem.write(self._descriptor, data.reshape(-1).data, self.path)

    def close(self) -> None:
        """Bring the file to the disk.

        Raises:
            DatasetError: it has not as many rows as its header says.
        """
        self._shut(sync=True)
        if self._rows != self.shape[0]:
            raise DatasetError(f"{self._rows} rows were written, {self.shape[0]} announced", where=str(self.path))

    def _shut(self, *, sync: bool) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            if sync:
                filesystem.sync(descriptor, self.path)
            filesystem.close(descriptor, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._shut(sync=False)
