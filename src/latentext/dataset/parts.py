"""States parts: the bytes of one safetensors file, and how to look into one without loading it.

A part holds the row columns (`index`, `sample`, `position`, `token_id`, `remaining`) and then, site after site, one
tensor [rows, width], so that the bytes of one layer lie together. The format is plain safetensors: eight bytes with
the length of a JSON header, the header, the data without gaps. The safetensors library reads these files; reading here
goes by `numpy.memmap` at the tensor's offset, because a slice of rows of one site must cost only its own bytes, and
because NumPy has no bfloat16: such tensors are mapped as uint16, the same bits.

A header is believed only when it describes its file exactly, so a damaged one cannot make us allocate or map nonsense.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latentext.dataset.documents import unreadable
from latentext.dataset.layout import FORMAT_VERSION, newer_version
from latentext.errors import DatasetError
from latentext.spec import DType
from latentext.storage import filesystem

ROW_COLUMNS: Mapping[str, str] = {
    "index": "I64",
    "sample": "I32",
    "position": "I32",
    "token_id": "I32",
    "remaining": "I32",
}
"""Columns that every part has beside its sites, with their safetensors types."""

ROW_DTYPE = np.dtype([(name, "<i8" if kind == "I64" else "<i4") for name, kind in ROW_COLUMNS.items()])
"""The same columns as one NumPy structured type: what `StatesView.rows` has."""

SAFETENSORS_NAME: Mapping[DType, str] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

_NUMPY_DTYPE = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}
_PAGE = 4096
_MAX_HEADER_BYTES = 10_000_000  # A hundred thousand tensors; JSON takes some thirty times its length once it is read.


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies in its part; `kind` is the safetensors name of its type, `offset` counts from byte 0."""

    kind: str
    shape: tuple[int, ...]
    offset: int

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Type of the mapped array: uint16 stands for bfloat16."""
        return np.dtype(_NUMPY_DTYPE[self.kind])

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return math.prod(self.shape) * self.numpy_dtype.itemsize


@dataclass(frozen=True, slots=True)
class StatesPart:
    """A part whose header was read and checked: its number of rows, and its tensors by name."""

    path: Path
    rows: int
    tensors: Mapping[str, StoredTensor]

    @property
    def sites(self) -> list[str]:
        """Names of the tensors that hold states, in the order in which they are stored."""
        return [name for name in self.tensors if name not in ROW_COLUMNS]

    def map(self, name: str) -> npt.NDArray[Any]:
        """The tensor as a read-only memory map: bytes are read when they are touched.

        Raises:
            DatasetError: there is no such tensor, or the file became shorter since its header was read.
        """
        stored = self.tensors.get(name)
        if stored is None:
            raise DatasetError(f"no tensor {name!r}", where=str(self.path), remedy=f"it has: {', '.join(self.tensors)}")
        try:
            if stored.size == 0:
                return np.empty(stored.shape, stored.numpy_dtype)
            # As a plain array, which keeps the map alive: slices of the memmap subclass cost more than their bytes.
            with filesystem.open_regular(self.path) as file:
                return np.asarray(np.memmap(file, stored.numpy_dtype, "r", stored.offset, stored.shape))
        except (OSError, ValueError) as error:
            raise DatasetError(f"cannot be mapped ({error})", where=str(self.path)) from error

    def read_rows(self) -> npt.NDArray[Any]:
        """The row columns as one structured array of `ROW_DTYPE`, in memory."""
        rows = np.empty(self.rows, ROW_DTYPE)
        for name in ROW_COLUMNS:
            rows[name] = self.map(name)
        return rows


def encode_header(rows: int, widths: Mapping[str, int], dtype: DType) -> bytes:
    """The first bytes of a part, up to where data begins: row columns, then sites in their order.

    The first site begins on a page, so that states of a page each (or of a part of one) do not lie across two.

    Example:
        >>> header = encode_header(3, {"final_norm": 64}, "bfloat16")
        >>> (len(header) + 3 * ROW_DTYPE.itemsize) % 4096
        0
    """
    shapes = [(name, kind, [rows]) for name, kind in ROW_COLUMNS.items()]
    shapes += [(name, SAFETENSORS_NAME[dtype], [rows, width]) for name, width in widths.items()]
    header: dict[str, Any] = {"__metadata__": {"format_version": str(FORMAT_VERSION)}}
    end = 0
    for name, kind, shape in shapes:
        begin, end = end, end + math.prod(shape) * np.dtype(_NUMPY_DTYPE[kind]).itemsize
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text) + rows * ROW_DTYPE.itemsize) % _PAGE)
    return len(text).to_bytes(8, "little") + text


def open_part(path: Path) -> StatesPart:
    """Read and check the header of a part; no data is read.

    Raises:
        DatasetError: the file is missing, not a regular file, truncated, of a newer format, or its header is absurd:
            too long, not JSON, tensors that overlap, leave gaps or reach beyond the file, rows that disagree.
    """
    try:
        with filesystem.open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
                raise _damaged(path, f"a header of {length} bytes in a file of {size}")
            text = file.read(length)
    except OSError as error:
        raise unreadable(path, error, "run the same command again") from error
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        tensors = {name: _stored(described, 8 + length) for name, described in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read ({type(error).__name__})") from error
    _check_version(path, metadata)
    _check_tensors(path, tensors, begin=8 + length, end=size)
    return StatesPart(path, tensors["index"].shape[0], tensors)


def widen(array: npt.NDArray[Any], kind: str) -> npt.NDArray[Any]:
    """States as NumPy can compute with them: bfloat16 (held as uint16) becomes float32, others are as they are.

    Example:
        >>> widen(np.array([0x3FC0], np.uint16), "BF16")
        array([1.5], dtype=float32)
    """
    if kind != "BF16":
        return array
    bits = array.astype(np.uint32)
    bits <<= 16  # In place: the same shift into new memory takes more than twice the time.
    return bits.view(np.float32)


def _stored(described: Mapping[str, Any], data_begin: int) -> StoredTensor:
    begin, end = (int(offset) for offset in described["data_offsets"])
    shape = tuple(int(length) for length in described["shape"])
    stored = StoredTensor(str(described["dtype"]), shape, data_begin + begin)
    if stored.kind not in _NUMPY_DTYPE or any(length < 0 for length in shape) or end - begin != stored.size:
        raise ValueError("a tensor's size does not fit its shape")
    return stored


def _check_version(path: Path, metadata: Mapping[str, Any]) -> None:
    version = str(metadata.get("format_version", "")) if isinstance(metadata, dict) else ""
    if newer_version(version):
        what = f"written in format version {version[:20]}, this latentext reads up to {FORMAT_VERSION}"
        raise DatasetError(what, where=str(path), remedy="update latentext")


def _check_tensors(path: Path, tensors: Mapping[str, StoredTensor], *, begin: int, end: int) -> None:
    """Tensors must fill the file without gap or overlap, and have the columns and shapes of a part."""
    for stored in sorted(tensors.values(), key=lambda stored: stored.offset):
        if stored.offset != begin:
            raise _damaged(path, "its tensors overlap or leave gaps")
        begin += stored.size
    if begin != end:
        raise _damaged(path, f"{end} bytes, its header describes {begin}")
    rows = {stored.shape[0] if stored.shape else -1 for stored in tensors.values()}
    columns = {name: stored.kind for name, stored in tensors.items() if len(stored.shape) == 1}
    matrices = all(len(stored.shape) == 2 for name, stored in tensors.items() if name not in ROW_COLUMNS)
    if len(rows) != 1 or columns != dict(ROW_COLUMNS) or not matrices:
        raise _damaged(path, "it has not the tensors of a states part")


def _damaged(path: Path, how: str) -> DatasetError:
    return DatasetError(
        f"truncated or damaged: {how}", where=str(path), remedy="run the same command again to rebuild it"
    )


_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Take:
    """Rows of one file, which exist, and the places in an array where they go, which ascend."""

    source: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    def into(self, states: npt.NDArray[Any]) -> None:
        """``states[places] = source[rows]``."""
        source, rows, places = self.source, self.rows, self.places
        # `clip` spares the copy that numpy makes to be able to raise.
        if len(places) and places[-1] - places[0] + 1 == len(places):
            np.take(source, rows, 0, out=states[places[0] : places[-1] + 1], mode="clip")
            return
        # By way of a small buffer, which stays in the processor's cache: all rows would be written to memory twice.
        block = max(1, _BLOCK_BYTES // max(1, source.shape[1] * source.itemsize))
        buffer = np.empty((min(block, len(rows)), source.shape[1]), source.dtype)
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            states[places[start : start + block]] = np.take(source, some, 0, out=buffer[: len(some)], mode="clip")
