"""Rows from a file: which format it has, its index beside the plan, and one reader for each format.

Nothing is loaded whole: lines are read by their offsets, Parquet by row group. What is made beside the plan (the index
and, for a gzip file, the unpacked copy) is a cache: it names the file's size and hash, and is made again when they
differ. In which state the disk showed a large file when it was hashed is noted in ``.input.seen``, which spares hashing
it again; that note is of one machine, so it is no part of the dataset.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from latentext.errors import SpecError
from latentext.prompts.before import INDEX, NOTE, SEEN, UNPACKED, set_aside
from latentext.prompts.input_file import (
    LONGEST_RECORD,
    SAVE_AS_UTF8,
    FileState,
    decompress,
    file_sha256,
    is_gzip,
    open_input,
)
from latentext.prompts.parquet import ParquetRows
from latentext.prompts.quotes import quotes_of_tsv, split_text_line
from latentext.prompts.record_index import DIALECTS, Quotes, RecordIndex, build_index
from latentext.prompts.rows import BadRow, Row, Rows, doubled_name, refuse_doubled_columns
from latentext.spec import FileSource
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes
from latentext.storage.filesystem import make_folder

_VERSION = 1
QUOTES = "quotes"
"""Of the note: what quotes are in a file with delimiters."""
_FIRST_ROWS = 64
"""Of a file, of which at least one must be readable."""

_NOT_UTF8 = "is not UTF-8"
_BEGINS_ARRAY = "begins a JSON array; JSON Lines has one object on each line"
_REMEDIES = {
    _NOT_UTF8: f"{SAVE_AS_UTF8}: iconv -f LATIN1 -t UTF-8 OLD > NEW",
    _BEGINS_ARRAY: "jq -c '.[]' OLD > NEW.jsonl",
}
_FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
}


_OTHER_PACKERS = (".zst", ".bz2", ".xz", ".lzma", ".zip", ".7z")


def open_file(source: FileSource, directory: Path) -> Rows:
    """The rows of a file.

    Args:
        source: the file; a relative path is taken from the working directory.
        directory: where the index and an unpacked copy are kept; made if absent.

    Raises:
        SpecError: missing, unreadable, damaged or empty, or of a format that its name does not tell.
    """
    path = Path(source.path).expanduser()
    form = _format(source, path)
    state = FileState.of(path)
    identity = _prepare(path, state, form, directory)
    plain = directory / UNPACKED if identity["gzip"] else path
    rows = _reader(form, plain, directory / INDEX, identity)
    if FileState.of(path) != state:  # Offsets of the one content would cut lines out of the other.
        raise SpecError("changed while it was read", where=str(path), remedy="run the same command again")
    if len(rows) == 0:
        raise SpecError("the file holds no rows", where=str(path), remedy="check prompts.file")
    _refuse_unreadable(rows, path)
    return rows


def _refuse_unreadable(rows: Rows, path: Path) -> None:
    """Refuse a file of whose first rows none can be read, with the reason."""
    first = [rows.row(index) for index in range(min(len(rows), _FIRST_ROWS))]
    bad = [row.message for row in first if isinstance(row, BadRow)]
    # Of an array that spans lines, the last object has no comma behind it and reads like a row.
    if len(bad) == len(first) or (isinstance(first[0], BadRow) and _BEGINS_ARRAY in bad[0]):
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in bad[0]), "check prompts.file")
        others = f"; the next {len(bad) - 1} cannot be read either" if len(bad) == len(first) > 1 else ""
        raise SpecError(f"{bad[0]}{others}", where=str(path), remedy=remedy)


def _format(source: FileSource, path: Path) -> str:
    if source.format != "auto":
        return source.format
    suffixes = [suffix.lower() for suffix in path.suffixes]
    form = _FORMATS.get(suffixes[-2 if suffixes[-1] == ".gz" and len(suffixes) > 1 else -1] if suffixes else "")
    if form is None:
        raise _unknown_format(path)
    return form


def _unknown_format(path: Path) -> SpecError:
    suffix = path.suffix.lower()
    if suffix in _OTHER_PACKERS:
        what = f"{suffix} files are not read: of packed files only gzip (.gz) is"
        return SpecError(what, where=str(path), remedy="unpack it")
    if suffix != ".json":
        remedy = "give prompts.file.format: jsonl, csv, tsv, parquet or text"
        return SpecError("its name does not tell the format", where=str(path), remedy=remedy)
    with open_input(path) as file:
        text = file.readline(LONGEST_RECORD).removeprefix(b"\xef\xbb\xbf").strip()
    if text.startswith(b"["):
        return SpecError(
            "holds a JSON array", where=str(path), remedy=f"make it JSON Lines: {_REMEDIES[_BEGINS_ARRAY]}"
        )
    if text.startswith(b"{") and text.endswith(b"}"):
        remedy = "if each line is an object, name it .jsonl or give prompts.file.format: jsonl"
        return SpecError("may hold one JSON object or JSON Lines", where=str(path), remedy=remedy)
    remedy = "make it JSON Lines, one object per line: jq -c . OLD > NEW.jsonl"
    return SpecError("holds JSON, but not JSON Lines", where=str(path), remedy=remedy)


def _prepare(path: Path, state: FileState, form: str, directory: Path) -> Mapping[str, Any]:
    """Unpack and index the file unless that was done before; return what identifies it."""
    note, noted_state = directory / NOTE, directory / SEEN
    seen = {"version": _VERSION, "format": form, "size": state.size}
    known = _read_note(note)
    if known is not None and seen.items() <= known.items() and _made(known, directory):
        sha256 = str(known["sha256"])
        if state.remembered(noted_state, sha256) or file_sha256(path) == sha256:
            state.remember(noted_state, sha256)
            return known
    make_folder(directory)
    if known is not None:
        set_aside(directory)
    filesystem.remove(note)  # While the files it speaks of are replaced, it must not stand.
    packed = is_gzip(path)
    plain = path
    if packed:
        plain = directory / UNPACKED
        decompress(path, plain)
    quotes = _quotes(known, form, plain)
    plain_sha256 = file_sha256(plain) if form == "parquet" else build_index(plain, form, directory / INDEX, quotes)
    identity = seen | {"gzip": packed, "sha256": file_sha256(path) if packed else plain_sha256}
    if quotes is not None:
        identity[QUOTES] = quotes
    write_bytes(note, json.dumps(identity, indent=1, sort_keys=True).encode() + b"\n")
    state.remember(noted_state, str(identity["sha256"]))
    return identity


def _quotes(known: Mapping[str, Any] | None, form: str, plain: Path) -> Quotes | None:
    """What quotes are in a file with delimiters. Datasets of 0.1.0, whose notes do not say it, go on as they began."""
    if form not in DIALECTS or (known is not None and known.get("format") == form and QUOTES not in known):
        return None
    return quotes_of_tsv(plain) if form == "tsv" else "marks"


def _made(known: Mapping[str, Any], directory: Path) -> bool:
    """Whether all that a note speaks of is there."""
    if not {"gzip", "sha256"} <= known.keys():
        return False
    unpacked = not known["gzip"] or (directory / UNPACKED).is_file()
    return unpacked and (known["format"] == "parquet" or (directory / INDEX).is_file())


def _read_note(note: Path) -> dict[str, Any] | None:
    try:
        known = json.loads(filesystem.read_bytes(note))
    except (OSError, ValueError, RecursionError):
        return None
    return known if isinstance(known, dict) else None


def _reader(form: str, path: Path, index: Path, identity: Mapping[str, Any]) -> Rows:
    named = {name: identity[name] for name in ("format", "size", "sha256")}
    if form == "parquet":
        return ParquetRows(path, named)
    records = RecordIndex.open(index)
    file = open_input(path)
    if form == "jsonl":
        return JsonLines(file, records, named)
    if form == "text":
        return TextLines(file, records, named)
    return DelimitedRows(file, records, named, DIALECTS[form], path, identity.get(QUOTES))


class _IndexedRows:
    """A text file that is read record by record; `identity` holds format, size and sha256."""

    def __init__(self, file: BinaryIO, records: RecordIndex, identity: Mapping[str, Any]):
        self._file, self._records, self.identity = file, records, identity

    def __len__(self) -> int:
        return len(self._records)

    def __del__(self) -> None:
        self._file.close()  # Rows live as long as a plan does, which nobody closes.

    def _text(self, index: int) -> str | BadRow:
        if (size := self._records.size(index)) > LONGEST_RECORD:
            line = self._records.line(index)
            return BadRow("bad-row", f"line {line} has {size:,} bytes; a row may have {LONGEST_RECORD:,}")
        try:
            return self._records.read(self._file, index).decode("utf-8")
        except UnicodeDecodeError as error:
            return BadRow("bad-row", f"line {self._records.line(index)} {_NOT_UTF8}: {error.reason}")


class TextLines(_IndexedRows):
    """Plain text: each line is the `prompt` of a row, as it stands, without its line break."""

    columns = ("prompt",)

    def row(self, index: int) -> Row | BadRow:
        text = self._text(index)
        return text if isinstance(text, BadRow) else {"prompt": text.removesuffix("\n").removesuffix("\r")}


class _DoubledKeyError(Exception):
    """A JSON object names the same key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; Python's reader would keep the last of two equal keys, others keep the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _DoubledKeyError(repr(doubled_name(key for key, _ in pairs)))
    return found


class JsonLines(_IndexedRows):
    """One JSON object a line."""

    columns = None

    def row(self, index: int) -> Row | BadRow:
        text = self._text(index)
        if isinstance(text, BadRow):
            return text
        try:
            row = json.loads(text, object_pairs_hook=_object)
        except _DoubledKeyError as error:
            return BadRow("bad-row", f"line {self._records.line(index)} has {error} twice")
        except (ValueError, RecursionError) as error:  # A ValueError too is a number of 4,300 digits.
            if text.lstrip().startswith("["):
                return BadRow("bad-row", f"line {self._records.line(index)} {_BEGINS_ARRAY}")
            return BadRow("bad-row", f"line {self._records.line(index)} is not JSON: {error}")
        if isinstance(row, list) and len(self) == 1:
            return BadRow("bad-row", f"line {self._records.line(index)} {_BEGINS_ARRAY}")
        if not isinstance(row, dict):
            return BadRow("bad-row", f"line {self._records.line(index)} is no JSON object")
        return row


class DelimitedRows(_IndexedRows):
    """CSV or TSV with a header; every value is a string. `quotes` as in `build_index`."""

    def __init__(
        self,
        file: BinaryIO,
        records: RecordIndex,
        identity: Mapping[str, Any],
        dialect: str,
        path: Path,
        quotes: Quotes | None,
    ):
        super().__init__(file, records, identity)
        self._dialect, self._quotes = dialect, quotes
        header = self._fields(0) if len(records) else BadRow("bad-row", "no header")
        if isinstance(header, BadRow):
            remedy = SAVE_AS_UTF8 if _NOT_UTF8 in header.message else "the first line must name the columns"
            raise SpecError(header.message, where=str(path), remedy=remedy)
        refuse_doubled_columns(header, where=str(path))
        self.columns = tuple(header)

    def __len__(self) -> int:
        return len(self._records) - 1

    def row(self, index: int) -> Row | BadRow:
        values = self._fields(index + 1)
        if isinstance(values, BadRow):
            return values
        if len(values) != len(self.columns):
            line = self._records.line(index + 1)
            return BadRow("bad-row", f"line {line} has {len(values)} values for {len(self.columns)} columns")
        return dict(zip(self.columns, values, strict=True))

    def _fields(self, record: int) -> list[str] | BadRow:
        text = self._text(record)
        if isinstance(text, BadRow):
            return text
        if self._quotes == "text":
            return split_text_line(text)
        try:
            # Only line feeds end a line here: splitlines would also cut at the form feeds and U+2028 of prose.
            return next(csv.reader(_lines(text), self._dialect, strict=self._quotes is not None))
        except csv.Error:
            what = f"line {self._records.line(record)} has a quote that is not closed, or one inside a quoted field"
            return BadRow("bad-row", f"{what}; the latter are doubled")


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.removesuffix("\n").split("\n")]
