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
from typing import BinaryIO, Literal

import numpy as np

from latentext.errors import SpecError
from latentext.prompts.input_file import LONGEST_RECORD, open_input, refuse_other_kinds
from latentext.storage.atomic import atomic_file
from latentext.storage.filesystem import open_regular

Quotes = Literal["marks", "text"]
"""What quotes are in a CSV or TSV file: marks around fields, or part of its texts (`latentext.prompts.quotes`)."""

DIALECTS = {"csv": "excel", "tsv": "excel-tab"}

_UTF8_MARK = b"\xef\xbb\xbf"
_DTYPE = np.dtype("<u8")


class CountedLines:
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


def build_index(source: Path, form: str, target: Path, quotes: Quotes | None = None) -> str:
    """Write the index of `source`, a ``jsonl``, ``csv``, ``tsv`` or ``text`` file, to `target`; return its sha256.

    Blank lines of JSONL, CSV and TSV files are no records; in a text file each line is one.

    Args:
        quotes: what quotes are in a CSV or TSV file; None reads them as version 0.1.0 did.

    Raises:
        SpecError: unreadable, no text in UTF-8 (by its first bytes), or a quote swallows lines; the line is named.
        DiskFullError: no room for the index.
    """
    with open_input(source) as file:
        refuse_other_kinds(file, source)
        lines = CountedLines(file)
        marks = form in DIALECTS and quotes != "text"
        records = _csv_records(lines, DIALECTS[form], source, quotes) if marks else _line_records(lines, form)
        with atomic_file(target) as index:
            for place in records:
                index.write(np.array(place, dtype=_DTYPE).tobytes())
            index.write(np.array((lines.offset, lines.line), dtype=_DTYPE).tobytes())
    return lines.sha256.hexdigest()


def _line_records(lines: CountedLines, form: str) -> Iterator[tuple[int, int]]:
    start = lines.offset
    for raw in lines:
        if form == "text" or raw.strip(b"\r\n" if form in DIALECTS else None):
            yield start, lines.line - 1
        start = lines.offset


def _csv_records(lines: CountedLines, dialect: str, source: Path, quotes: Quotes | None) -> Iterator[tuple[int, int]]:
    """Places of a CSV file's records, the header first. A field that is wrongly quoted costs its record, where it is
    read; one that takes more lines than its own is refused."""
    strict = quotes is not None
    # Undecodable bytes are the business of the record that holds them; here they only must not stop the reading.
    reader = csv.reader((whole_line(raw).decode("utf-8", "surrogateescape") for raw in lines), dialect, strict=strict)
    while True:
        start = (lines.offset, lines.line)
        try:
            if next(reader):
                yield start
        except StopIteration:
            return
        except csv.Error as error:
            wrong = strict and (_WRONGLY_QUOTED in str(error) or _ENDLESS in str(error))
            if not wrong or lines.line > start[1] + 1:
                what = "a field begins with a quote that is not closed" if wrong else str(error)
                raise refused_line(f"line {start[1]}: {what}", source) from None
            yield start
        except TooLongError as error:
            raise refused_line(f"line {start[1]}: {error}", source) from None


_WRONGLY_QUOTED = "expected after"
"""Of the csv module's complaint that text follows the end of a quoted field."""

_ENDLESS = "unexpected end of data"
"""The same of the end of a file within one."""


class TooLongError(Exception):
    """A line is longer than a record may be."""


def whole_line(raw: bytes) -> bytes:
    """A line of `CountedLines`, if it is not longer than a record may be."""
    if len(raw) > LONGEST_RECORD:
        raise TooLongError(f"longer than {LONGEST_RECORD:,} bytes")
    return raw


def refused_line(what: str, source: Path) -> SpecError:
    """The refusal of a file for one of its lines."""
    remedy = "check the quotes; texts above 131,072 characters need JSONL"
    return SpecError(what, where=str(source), remedy=remedy)


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
