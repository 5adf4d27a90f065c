"""Whether the quotes of a TSV file are marks around fields or part of its texts.

Both kinds are called TSV. Spreadsheets and pandas put quotes around a field that holds a tab, a line break or a quote,
and double the quotes in it. Corpora are often written without any such rule: there a text may begin with a quote, and
a reader that takes it for a mark swallows the lines behind it, labels and all. The file itself tells which it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from latentext.errors import SpecError
from latentext.prompts.input_file import open_input
from latentext.prompts.record_index import CountedLines, Quotes, TooLongError, refused_line, whole_line

_LINE_END = "\r\n"
_FIELD = re.compile(r'(?:\A|\t)(?:"((?:[^"]++|"")*+)"|([^\t]*+))(?=\t|\r?\n?\Z)')
_DOUBLED = re.compile(r'(?:\A|\t)"[^"\t]*+""(?:[^"\t]++|"")*+"(?=\t|\r?\n?\Z)')
"""A field on one line that only a writer of marks makes: in quotes, with a doubled one inside."""


def quotes_of_tsv(source: Path) -> Quotes:
    """What quotes are in a TSV file; one pass over it, two where they are text.

    Raises:
        SpecError: the file needs marks in one place, and in another they would swallow rows; the line is named.
    """
    with open_input(source) as file:
        lines = _Lines(file, source)
        marked, loose = False, False
        columns = None
        for raw, values in lines.records():
            columns = columns or len(values)
            if '"' in raw:
                if _swallows(raw, len(values), columns):
                    lines.wrong = lines.first
                    break
                fields = _FIELD.findall(raw)
                marked = marked or any(_needs_marks(quoted) for quoted, _ in fields)
                loose = loose or any('"' in plain for _, plain in fields)
        if lines.wrong is None:
            return "text" if loose and not marked else "marks"
        file.seek(0)
        if not marked and not any(_DOUBLED.search(line) for line in _Lines(file, source).alone()):
            return "text"
    raise SpecError(
        f"line {lines.wrong}: a field begins with a quote that is not closed, and other fields are quoted",
        where=str(source),
        remedy="put quotes around that field and double those inside, or write the file as JSONL",
    )


def split_text_line(line: str) -> list[str]:
    r"""The fields of a line whose quotes are text.

    Example:
        >>> split_text_line('"Well," he said\tfine\n')
        ['"Well," he said', 'fine']
    """
    return line.rstrip(_LINE_END).split("\t")


def read_delimited(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV or TSV file as they stand, from the first to the last, with the line on which each ends.

    Raises:
        SpecError: as `quotes_of_tsv`.
        OSError, UnicodeDecodeError, csv.Error: the file cannot be read, or a quote is not closed.
    """
    text = delimiter == "\t" and quotes_of_tsv(path) == "text"
    with path.open(encoding="utf-8-sig", newline="") as file:
        if text:
            yield from ((number, split_text_line(line)) for number, line in enumerate(file, 1) if line.strip(_LINE_END))
            return
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        yield from ((reader.line_num, row) for row in reader if row)


class _Lines:
    """The lines of a file, with those of the record that is being read and the line on which it begins."""

    def __init__(self, file: BinaryIO, source: Path):
        self._lines, self._source = CountedLines(file), source
        self._record: list[str] = []
        self.first = 1
        self.wrong: int | None = None

    def __iter__(self) -> Iterator[str]:
        for raw in self._lines:
            try:
                self._record.append(whole_line(raw).decode("utf-8", "surrogateescape"))
            except TooLongError as error:
                raise refused_line(f"line {self._lines.line - 1}: {error}", self._source) from None
            yield self._record[-1]

    def alone(self) -> Iterator[str]:
        """The lines, none of which belongs to another."""
        for line in self:
            self._record.clear()
            yield line

    def records(self) -> Iterator[tuple[str, list[str]]]:
        """Records and their values where quotes are marks, up to the first in which they cannot be (`wrong`)."""
        reader = csv.reader(self, "excel-tab", strict=True)
        while True:
            self.first = self._lines.line
            self._record.clear()
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error:
                self.wrong = self.first
                return
            if values:
                yield "".join(self._record), values


def _swallows(raw: str, values: int, columns: int) -> bool:
    """Whether each line of a record is a row of its own: then quotes that join them are text, unless others between
    them are doubled."""
    if '""' in raw:
        return False
    lines: Iterable[str] = raw.rstrip(_LINE_END).split("\n")
    whole = columns > 1 and all(line.count("\t") == columns - 1 for line in lines)
    return whole and ("\n" in raw.rstrip(_LINE_END) or values != columns)


def _needs_marks(quoted: str) -> bool:
    return '""' in quoted or "\t" in quoted or "\n" in quoted
