"""Quotes in CSV and TSV files: marks around fields where the file uses them so, else part of the texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from latentext.errors import SpecError
from latentext.prompts.before import INDEX, NOTE
from latentext.prompts.files import open_file
from latentext.prompts.record_index import build_index
from latentext.prompts.rows import BadRow
from latentext.spec import FileSource
from latentext.studies.pairs.files import read_columns

QUOTED_SPEECH = [
    ("first", "label-1"),
    ('He said "fine"', "label-2"),
    ('"Well, said the other', "label-3"),
    ("Third line", "label-4"),
    ('It is 5" wide', "label-5"),
    ('"Yes."', "label-6"),
    ("last", "label-7"),
]


def _written(path: Path, rows: list[tuple[str, ...]], mark: str = "\t", end: str = "\n") -> Path:
    path.write_text("".join(mark.join(row) + end for row in rows), encoding="utf-8", newline="")
    return path


def _values(path: Path) -> list[tuple[str, ...] | BadRow]:
    rows = open_file(FileSource(path=str(path)), path.parent / "plan")
    found = (rows.row(index) for index in range(len(rows)))
    return [row if isinstance(row, BadRow) else tuple(row.values()) for row in found]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_field_that_begins_with_a_quote_swallows_no_line_of_a_tsv_file(tmp_path: Path, end: str) -> None:
    path = _written(tmp_path / "a.tsv", [("prompt", "label"), *QUOTED_SPEECH], end=end)
    assert _values(path) == QUOTED_SPEECH


def test_pairs_are_read_from_such_a_file_line_by_line_too(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.tsv", [("clean", "patch"), *QUOTED_SPEECH])
    assert list(read_columns(path, ("clean", "patch"))) == QUOTED_SPEECH


def test_one_column_of_quoted_speech_is_read_line_by_line(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.tsv", [("prompt",), ('"Well,',), ('he said "so" and left',), ("last",)])
    assert _values(path) == [('"Well,',), ('he said "so" and left',), ("last",)]


def test_quotes_that_join_whole_rows_are_text(tmp_path: Path) -> None:
    rows = [("a", "1"), ('"Open', "2"), ('It is 5"', "3"), ("b", "4")]
    assert _values(_written(tmp_path / "a.tsv", [("prompt", "label"), *rows])) == rows


def test_texts_with_tabs_and_line_breaks_are_read_as_they_were_written_with_marks(tmp_path: Path) -> None:
    rows = [("a\tb", "1"), ("two\nlines", "2"), ('say "hi"\nand go', "3"), ("", "4"), ("plain", "5")]
    path = tmp_path / "a.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, "excel-tab").writerows([("prompt", "label"), *rows])
    assert _values(path) == rows


@pytest.mark.parametrize("marked", ['"a ""b"" c"\t1', '"two\nlines"\t1'])
def test_a_quote_that_is_not_closed_among_quoted_fields_is_refused_by_its_line(tmp_path: Path, marked: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(f'prompt\tlabel\n{marked}\n"open\t2\nc\t3\n')
    line = 3 + marked.count("\n")
    with pytest.raises(SpecError, match=f"a.tsv: line {line}: a field begins with a quote that is not closed"):
        _values(path)


def test_a_csv_field_whose_quote_swallows_lines_is_refused_by_its_line(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.csv", [("prompt", "label"), *QUOTED_SPEECH], mark=",")
    path.write_text(path.read_text().replace('"Well, said', '"Well said'))
    with pytest.raises(SpecError, match=r"a\.csv: line 4: a field begins with a quote that is not closed"):
        _values(path)


def test_a_wrong_quote_within_a_line_of_a_csv_file_costs_only_that_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,label\n"fine" he said,1\nb,2\n"He said \\"x\\" so",3\nc,4\n"last, 5')
    [first, second, third, fourth, fifth] = _values(path)
    assert (second, fourth) == (("b", "2"), ("c", "4"))
    assert [bad.message[:17] for bad in (first, third, fifth) if isinstance(bad, BadRow)] == [
        "line 2 has a quot",
        "line 4 has a quot",
        "line 6 has a quot",
    ]


def test_a_dataset_of_0_1_0_goes_on_reading_its_file_as_it_began(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.tsv", [("prompt", "label"), ('"fine" he said', "1")])
    _values(path)
    plan = tmp_path / "plan"
    note = json.loads((plan / NOTE).read_text())
    assert note.pop("quotes") == "text"
    (plan / NOTE).write_text(json.dumps(note))  # As 0.1.0 wrote it.
    build_index(path, "tsv", plan / INDEX)
    assert _values(path) == [("fine he said", "1")]
    with path.open("a") as file:
        file.write("b\t2\n")
    assert _values(path) == [("fine he said", "1"), ("b", "2")]
    assert "quotes" not in json.loads((plan / NOTE).read_text())
