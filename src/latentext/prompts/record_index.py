"""Where each record of a text file begins, so that any of them can be read without reading those before.

The index is made once, in one pass that also hashes the file, and kept beside the plan: pairs of little-endian uint64,
(byte offset, line number), one a record and one for the end of the file. A CSV record may span lines; where it ends is
found by the csv module itself, fed line by line while the bytes are counted.

A record has at most 8 MiB: some two million tokens. To encode 30 MB takes minutes and 6 GB of memory, for a prompt
that no model reads.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from latentext.dataset.atomic import atomic_file
from latentext.dataset.filesystem import open_regular
from latentext.errors import SpecError
from latentext.prompts.input_file import open_input

DIALECTS = {"csv": "excel", "tsv": "excel-tab"}

LONGEST_RECORD = 8 << 20
"""Bytes of a record, and of a line of a CSV or TSV file."""

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_DTYPE = np.dtype("<u8")


class _CountedLines:
    """The lines of a file behind its byte order mark, with the place of the next one and the file's hash on the way."""

    def __init__(self, file: BinaryIO):
        mark = file.read(len(_UTF8_MARK))
        self.offset = len(_UTF8_MARK) if mark == _UTF8_MARK else 0
        self.line = 1
        self.sha256 = hashlib.sha256(mark[: self.offset])
        self._file = file
        file.seek(self.offset)

    def __iter__(self) -> Iterator[bytes]:
        """The lines; of one that is longer than a record may be, its beginning."""
        while raw := self._file.readline(LONGEST_RECORD + 1):
            self._take(raw)
            piece = raw
            while not piece.endswith(b"\n") and (piece := self._file.readline(LONGEST_RECORD)):
                self._take(piece)
            self.line += 1
            yield raw

    def _take(self, raw: bytes) -> None:
        self.sha256.update(raw)
        self.offset += len(raw)


def build_index(source: Path, form: str, target: Path) -> str:
    """Write the index of `source`, a ``jsonl``, ``csv``, ``tsv`` or ``text`` file, to `target`; return its sha256.

    Blank lines of JSONL, CSV and TSV files are no records; in a text file each line is one.

    Raises:
        SpecError: unreadable, not UTF-8 (by its byte order mark), or not CSV.
        DiskFullError: no room for the index.
    """
    with open_input(source) as file:
        if file.read(2) in _UTF16_MARKS:
            raise SpecError("the file is UTF-16", where=str(source), remedy="save it as UTF-8")
        file.seek(0)
        lines = _CountedLines(file)
        records = _csv_records(lines, DIALECTS[form], source) if form in DIALECTS else _line_records(lines, form)
        with atomic_file(target) as index:
            for place in records:
                index.write(np.array(place, dtype=_DTYPE).tobytes())
            index.write(np.array((lines.offset, lines.line), dtype=_DTYPE).tobytes())
    return lines.sha256.hexdigest()


def _line_records(lines: _CountedLines, form: str) -> Iterator[tuple[int, int]]:
    start = lines.offset
    for raw in lines:
        if form == "text" or raw.strip():
            yield start, lines.line - 1
        start = lines.offset


def _csv_records(lines: _CountedLines, dialect: str, source: Path) -> Iterator[tuple[int, int]]:
    """Places of a CSV file's records, the header first."""
    # Undecodable bytes are the business of the record that holds them; here they only must not stop the reading.
    reader = csv.reader((_whole(raw).decode("utf-8", "surrogateescape") for raw in lines), dialect)
    start = None
    try:
        while True:
            start = (lines.offset, lines.line)
            if next(reader):
                yield start
    except StopIteration:
        return
    except csv.Error as error:
        raise SpecError(
            f"line {start[1] if start else 1}: {error}",
            where=str(source),
            remedy="check the quotes; texts above 131,072 characters need JSONL",
        ) from None


def _whole(raw: bytes) -> bytes:
    if len(raw) > LONGEST_RECORD:
        raise csv.Error(f"longer than {LONGEST_RECORD:,} bytes")
    return raw


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """The places of a text file's records.

    Attributes:
        places: uint64 [records + 1, 2], (byte offset, line number); memory-mapped.
    """

    places: np.ndarray

    @classmethod
    def open(cls, path: Path) -> RecordIndex:
        with open_regular(path) as file:
            return cls(np.memmap(file, dtype=_DTYPE, mode="r").reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.places) - 1

    def line(self, index: int) -> int:
        """The line, from 1, on which a record begins."""
        return int(self.places[index, 1])

    def size(self, index: int) -> int:
        """Bytes of a record, its line break included."""
        return int(self.places[index + 1, 0] - self.places[index, 0])

    def read(self, file: BinaryIO, index: int) -> bytes:
        """The bytes of one record, its line break included."""
        file.seek(int(self.places[index, 0]))
        return file.read(self.size(index))
