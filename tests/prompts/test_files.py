"""Rows from files of every format: any row by its offset, the same values as other readers give, damage as one line."""

from __future__ import annotations

import csv
import datetime
import gzip
import hashlib
import json
import os
import random
import tracemalloc
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.errors import SpecError
from latentext.prompts import files, input_file, record_index
from latentext.prompts.files import open_file
from latentext.prompts.input_file import decompress
from latentext.prompts.rows import BadRow, RenamedRows, Row, Rows, doubled_name, require_columns
from latentext.spec import FileSource


def _open(path: Path, form: str = "auto", beside: str = "plan") -> Rows:
    return open_file(FileSource(path=str(path), format=form), path.parent / beside)


def _all(rows: Rows) -> list[Row | BadRow]:
    return [rows.row(index) for index in range(len(rows))]


def test_dialogues_come_as_json_reads_them_from_any_place(materials: Path, tmp_path: Path) -> None:
    source = materials / "prompts" / "dailydialog-500.ndjson"
    expected = [json.loads(line) for line in source.read_text(encoding="utf-8").split("\n") if line]
    rows = open_file(FileSource(path=str(source)), tmp_path)
    assert len(rows) == 500
    assert [rows.row(index) for index in (499, 0, 250, 249)] == [expected[index] for index in (499, 0, 250, 249)]


def test_a_gzip_file_is_unpacked_once(materials: Path, tmp_path: Path) -> None:
    source = materials / "prompts" / "hh-rlhf-harmless-base-test.jsonl.gz"
    with gzip.open(source, "rt", encoding="utf-8") as file:
        expected = [json.loads(line) for line in file]
    rows = open_file(FileSource(path=str(source)), tmp_path)
    assert _all(rows) == expected
    assert len(expected) == 2312
    unpacked = (tmp_path / "input.unpacked").stat()
    assert _all(open_file(FileSource(path=str(source)), tmp_path)) == expected
    assert (tmp_path / "input.unpacked").stat().st_mtime_ns == unpacked.st_mtime_ns


def test_film_reviews_with_quotes_in_them_come_as_the_csv_module_reads_them(materials: Path, tmp_path: Path) -> None:
    source = materials / "prompts" / "imdb-paired-dev.tsv"
    frame = pandas.read_csv(source, sep="\t", dtype=str, keep_default_na=False)
    rows = open_file(FileSource(path=str(source)), tmp_path)
    assert len(rows) == len(frame) == 490
    assert _all(rows) == frame.to_dict("records")


_cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"))


@given(
    header=st.lists(_cells.filter(str.strip), min_size=2, max_size=3, unique=True),
    records=st.lists(st.lists(_cells, min_size=2, max_size=3), min_size=1, max_size=6),
    form=st.sampled_from(["csv", "tsv"]),
    mark=st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_delimited_records_with_line_breaks_in_quotes_are_found_by_number(
    tmp_path_factory: pytest.TempPathFactory, header, records, form, mark
) -> None:
    header[0] = header[0].lstrip("\ufeff") or "a"
    records = [[*record, "", ""][: len(header)] for record in records]
    path = tmp_path_factory.mktemp("csv") / f"prompts.{form}"
    with path.open("w", encoding=mark, newline="") as file:
        writer = csv.writer(file, "excel" if form == "csv" else "excel-tab", lineterminator="\n")
        writer.writerows([header, *records])
    if len(set(header)) < len(header):
        return
    rows = _open(path)
    order = list(range(len(records)))
    random.Random(0).shuffle(order)
    assert len(rows) == len(records)
    assert all(rows.row(index) == dict(zip(header, records[index], strict=True)) for index in order)


def test_lines_of_text_are_prompts_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff one \r\n\ntwo\u2028still two\x0c\nlast".encode())
    assert _all(_open(path)) == [
        {"prompt": " one "},
        {"prompt": ""},
        {"prompt": "two\u2028still two\x0c"},
        {"prompt": "last"},
    ]


def test_a_bad_line_costs_only_itself_and_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n\n{"prompt": \n[1]\n{"prompt": "\xff"}\n   \n{"prompt": "b"}\n')
    rows = _open(path)
    reasons = [row.message if isinstance(row, BadRow) else row for row in _all(rows)]
    assert reasons == [
        {"prompt": "a"},
        "line 3 is not JSON: Expecting value: line 2 column 1 (char 12)",
        "line 4 is no JSON object",
        "line 5 is not UTF-8: invalid start byte",
        {"prompt": "b"},
    ]


def test_a_record_with_too_few_values_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text('id,prompt\n1,"two\nlines"\n2\n3,c\n')
    assert _all(_open(path)) == [
        {"id": "1", "prompt": "two\nlines"},
        BadRow("bad-row", "line 4 has 1 values for 2 columns"),
        {"id": "3", "prompt": "c"},
    ]


def test_parquet_rows_are_read_by_row_group_with_days_as_text_and_bytes_left_out(tmp_path: Path) -> None:
    count = 5000
    table = pa.table(
        {
            "prompt": [f"prompt {index}" for index in range(count)],
            "day": [datetime.date(2020, 1, 1) + datetime.timedelta(days=index) for index in range(count)],
            "image": [b"\x00"] * count,
            "turns": [[{"role": "user", "content": str(index)}] for index in range(count)],
        }
    )
    path = tmp_path / "prompts.parquet"
    pq.write_table(table, path, row_group_size=1700)
    rows = _open(path)
    assert len(rows) == count
    assert rows.columns == ("prompt", "day", "turns")
    assert rows.left_out == RenamedRows(rows, {"q": "prompt"}).left_out == ("image",)
    for index in (4999, 0, 1699, 1700, 1023, 1024, 3399):
        day = (datetime.date(2020, 1, 1) + datetime.timedelta(days=index)).isoformat()
        turns = [{"role": "user", "content": str(index)}]
        assert rows.row(index) == {"prompt": f"prompt {index}", "day": day, "turns": turns}


def test_doubled_columns_of_a_parquet_file_are_refused_also_inside_of_others(tmp_path: Path) -> None:
    arrays = [pa.array(["a", "b"]), pa.array(["c", "d"]), pa.array([1, 2])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["q", "q", "n"]), tmp_path / "a.parquet")
    with pytest.raises(SpecError, match=r"a\.parquet: two columns are called 'q'; rename one"):
        _open(tmp_path / "a.parquet")
    inner = pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], names=["x", "x"])
    pq.write_table(pa.table({"q": ["a", "b"], "meta": inner}), tmp_path / "b.parquet")
    with pytest.raises(SpecError, match=r"b\.parquet: two columns are called 'meta\.x'; rename one"):
        _open(tmp_path / "b.parquet")


def test_an_index_is_made_once_and_again_when_the_file_changed_or_the_index_is_lost(tmp_path: Path) -> None:
    path, index = tmp_path / "prompts.jsonl", tmp_path / "plan" / "input.index"
    path.write_text('{"prompt": "a"}\n')
    first = _open(path).identity
    made = index.stat().st_mtime_ns
    assert _open(path).identity == first
    assert index.stat().st_mtime_ns == made
    path.write_text('{"prompt": "b"}\n')  # Same size: only the content tells.
    assert _open(path).identity != first
    assert index.stat().st_mtime_ns != made
    index.unlink()
    assert _open(path).row(0) == {"prompt": "b"}


def _place_between_samples(path: Path) -> int:
    """A row of `_large` that 0.1.0 did not look at: its sample were 64 blocks of 64 KiB, evenly spread."""
    for place in range(30_000, 58_000, 700):
        _large(path, 10, place)
        content = path.read_bytes()
        blocks = -(-len(content) // 65536)
        sampled = {number * blocks // 64 for number in range(64)}
        start = content.index(b"a" * 10) // 65536
        if start not in sampled and (content.index(b"b" * 20) + 200) // 65536 == start:
            return place
    raise AssertionError("every row is in a sampled block")


def _large(path: Path, length: int, place: int = 30_000) -> None:
    """Some 5 MB in the format that the name tells, of one size whatever the `length` of the prompt at `place`."""
    rows = [f"row {number:06d}" for number in range(60_000)]
    rows[place : place + 2] = ["a" * length, "b" * (30 - length)]
    filler = [f"{number:070d}" for number in range(len(rows))]
    if path.suffix == ".parquet":
        table = pa.table({"prompt": rows, "more": filler})
        pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    elif path.suffix == ".txt":
        path.write_text("".join(f"{row} {more}\n" for row, more in zip(rows, filler, strict=True)))
    elif path.suffix in (".csv", ".tsv"):
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [f"{row}{mark}{more}\n" for row, more in zip(rows, filler, strict=True)]
        path.write_text(f"prompt{mark}more\n" + "".join(lines))
    else:
        pairs = zip(rows, filler, strict=True)
        text = "".join(json.dumps({"prompt": row, "more": more}) + "\n" for row, more in pairs)
        # Stored, not compressed: otherwise another word would give another size.
        path.write_bytes(gzip.compress(text.encode(), 0, mtime=0) if path.suffix == ".gz" else text.encode())


@pytest.mark.parametrize(
    ("name", "times"),
    [
        *((name, "put back") for name in ("a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv", "a.txt", "a.parquet")),
        ("a.jsonl", "new"),
        ("a.jsonl", "of another file"),
    ],
)
def test_a_large_file_that_changed_without_changing_its_size_is_read_as_it_is_now(
    tmp_path: Path, name: str, times: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_file, "_AT_REST_NS", 0)  # As if hours had passed: the note is written at once.
    path = tmp_path / name
    place = _place_between_samples(path)
    before = path.stat()
    first = _open(path)
    first_identity, first_rows = first.identity, len(first)
    assert (tmp_path / "plan" / ".input.seen").exists()
    assert _open(path).identity == first_identity
    changed = tmp_path / "changed" / name
    changed.parent.mkdir()
    _large(changed, 20, place)
    assert changed.stat().st_size == before.st_size
    if times == "of another file":
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
        changed.replace(path)
    else:
        path.write_bytes(changed.read_bytes())
        if times == "put back":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    now, fresh = _open(path), _open(path, beside="another plan")
    assert now.identity == fresh.identity != first_identity
    assert len(now) == len(fresh) == first_rows
    prompts = [str(now.row(index)["prompt"])[:30].strip("0 ") for index in range(place - 1, place + 3)]
    assert prompts[1:3] == ["a" * 20, "b" * 10]
    assert (prompts[0], prompts[3]) == (f"row {place - 1:06d}", f"row {place + 2:06d}")


def test_a_large_file_that_nobody_touched_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hashed = tmp_path / "a.jsonl", []
    _large(path, 10)
    monkeypatch.setattr(files, "file_sha256", lambda path: hashed.append(path) or input_file.file_sha256(path))
    _open(path)
    _open(path)
    assert hashed == [path], (
        "a file written a moment ago may change within a tick of the clock, so its times say nothing"
    )
    monkeypatch.setattr(input_file, "_AT_REST_NS", 0)
    _open(path)
    assert hashed == [path, path]
    _open(path)
    assert hashed == [path, path]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')

    def index_and_change(source: Path, form: str, target: Path, quotes: None) -> str:
        found = record_index.build_index(source, form, target, quotes)
        path.write_text('{"prompt": "aaaa"}\n{"prompt": "b"}\n')
        return found

    monkeypatch.setattr(files, "build_index", index_and_change)
    with pytest.raises(SpecError, match=r"a\.jsonl: changed while it was read; run the same command again"):
        _open(path)
    monkeypatch.undo()
    assert _all(_open(path)) == [{"prompt": "aaaa"}, {"prompt": "b"}]


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(SpecError, match=r"cannot be read: not a regular file; check prompts\.file"):
        _open(tmp_path / "a.jsonl")


def test_a_key_that_a_json_line_has_twice_costs_only_that_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"q": "a", "label": 1}\n{"q": "a", "q": "b"}\n{"q": "a", "meta": [{"x": 1, "x": 1}]}\n{"q": "c"}\n'
    )
    assert _all(_open(path)) == [
        {"q": "a", "label": 1},
        BadRow("bad-row", "line 2 has 'q' twice"),
        BadRow("bad-row", "line 3 has 'x' twice"),
        {"q": "c"},
    ]


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv", "parquet"])
def test_forty_thousand_columns_are_looked_at_once(tmp_path: Path, form: str) -> None:
    names = [f"column {number}" for number in range(40_000)]
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        pq.write_table(pa.table({name: [1] for name in names}), path)
    elif form == "jsonl":
        path.write_text(json.dumps(dict.fromkeys(names, 1)) + "\n")
    else:
        mark = "," if form == "csv" else "\t"
        path.write_text(mark.join(names) + "\n" + mark.join(["1"] * len(names)) + "\n")
    compared = 0

    class Counted(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    assert doubled_name([Counted(name) for name in names]) is None
    assert compared < 100_000, "comparing each name with each would take 1.6 thousand million"
    rows = RenamedRows(_open(path), {"prompt": names[7]})
    require_columns(rows, ["prompt", names[-1]], where="")
    assert len(rows.row(0)) == len(names)


def test_a_line_of_thirty_megabytes_is_refused_with_its_number_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        file.write('{"prompt": "a"}\n\n{"prompt": "')
        for _ in range(30):
            file.write("x" * 1_000_000)
        file.write('"}\n{"prompt": "b"}\n')
    tracemalloc.start()
    rows = _all(_open(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == [
        {"prompt": "a"},
        BadRow("bad-row", "line 3 has 30,000,015 bytes; a row may have 8,388,608"),
        {"prompt": "b"},
    ]
    assert peak < 40_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == _open(path).identity["sha256"]
    for form in ("csv", "tsv"):
        with pytest.raises(SpecError, match="line 3: longer than 8,388,608 bytes"):
            _open(path, form, beside=form)


def test_the_same_content_leaves_the_same_bytes_beside_the_plan_wherever_it_lies(tmp_path: Path) -> None:
    left = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        path = tmp_path / place / f"{place}.jsonl"
        path.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
        _open(path)
        left.append({file.name: file.read_bytes() for file in (path.parent / "plan").iterdir()})
    assert left[0] == left[1]
    assert set(left[0]) == {"input.index", "input.json"}


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("absent.csv", None, "no such file; check prompts.file"),
        ("prompts.xyz", b"a", "its name does not tell the format; give prompts.file.format"),
        ("prompts", b"a", "its name does not tell the format; give prompts.file.format"),
        ("array.json", b'[{"prompt": "a"}]', "holds a JSON array; make it JSON Lines: jq -c '.[]' OLD > NEW.jsonl"),
        ("one.json", b'{"prompt": "a"}', "may hold one JSON object or JSON Lines; if each line is an object, name it "),
        ("tall.json", b'{\n "prompt": "a"\n}', "holds JSON, but not JSON Lines; make it JSON Lines, one object per"),
        ("absent.json", None, "no such file; check prompts.file"),
        ("rows.jsonl.zst", b"(\xb5/\xfd", ".zst files are not read: of packed files only gzip (.gz) is; unpack it"),
        (
            "mac.csv",
            b"prompt,n\ra,1\rb,2\r",
            r"its lines end in CR alone, as on old Macs; save it with LF line ends: tr",
        ),
        ("mac.tsv", b"prompt\tn\ra\t1\r", "its lines end in CR alone, as on old Macs; save it"),
        ("mac.txt", b"first\rsecond", "its lines end in CR alone, as on old Macs; save it"),
        ("mac.jsonl", b'{"prompt": "a"}\r{"prompt": "b"}', "its lines end in CR alone, as on old Macs; save it"),
        ("empty.jsonl", b"\n\n", "the file holds no rows"),
        ("empty.csv", b"", "no header; the first line must name the columns"),
        ("header.csv", b"id,prompt\n", "the file holds no rows"),
        ("twice.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
        ("nameless.csv", b"prompt,,\nx,1,2\n", "two columns have no name; name them, or delete those that are empty"),
        ("nameless.tsv", b"\tprompt\t\n1\tx\t2\n", "two columns have no name; name them, or delete those"),
        ("open.csv", b'a,b\n1,"' + b"x" * 140_000, "line 2: field larger than field limit"),
        ("wide.txt", "a".encode("utf-16"), "the file is UTF-16; save it as UTF-8"),
        ("prompts.parquet", b"no parquet", "not readable as Parquet: "),
        ("cut.jsonl.gz", gzip.compress(b'{"prompt": "a"}\n' * 99, mtime=0)[:-9], "damaged gzip file: "),
        ("list.jsonl", b'[{"prompt": "a"}, {"prompt": "b"}]', "line 1 begins a JSON array; JSON Lines has one object"),
        ("lines.jsonl", b'[\n{"prompt": "a"},\n{"prompt": "b"}\n]\n', "line 1 begins a JSON array; JSON Lines has one"),
        ("indented.jsonl", b'[\n {\n  "prompt": "a"\n }\n]', "line 1 begins a JSON array; JSON Lines has one object"),
        ("object.jsonl", b'{\n "prompt": "a"\n}', "line 1 is not JSON: "),
        ("latin.jsonl", '{"prompt": "é"}\n{"prompt": "ü"}\n'.encode("latin-1"), "line 1 is not UTF-8: invalid con"),
        (
            "latin.csv",
            "id,prömpt\n1,a\n".encode("latin-1"),
            "line 1 is not UTF-8: invalid start byte; save it as UTF-8",
        ),
        ("rows.csv", "prompt\né\nü\n".encode("latin-1"), "line 2 is not UTF-8: "),
        (
            "wide.jsonl",
            '{"prompt": "a"}'.encode("utf-16-le"),
            "the file has zero bytes: it is UTF-16, or no text; save",
        ),
        ("wide.csv", "prompt\na\n".encode("utf-16-be"), "the file has zero bytes: it is UTF-16, or no text; save it"),
        ("sheet.csv", b"PK\x03\x04\x14\0", "the file is a ZIP archive, as Excel's sheets are; save the table as CSV"),
        ("table.jsonl", b"PAR1\x15\x04", "the file is Parquet; give prompts.file.format: parquet, or name it .parquet"),
        ("flipped.jsonl.gz", gzip.compress(b"a", mtime=0)[:-8] + b"\0" * 8, "damaged gzip file: "),
    ],
)
def test_an_unusable_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes | None, line: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        _open(path)
    assert str(caught.value).startswith(f"{path}: {line}")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        _open(tmp_path, "jsonl")


def test_a_gzip_bomb_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.jsonl.gz"
    with gzip.open(bomb, "wb") as file:
        for _ in range(80):
            file.write(bytes(1 << 20))
    with pytest.raises(SpecError, match="too much for the disk or for a text of its size"):
        _open(bomb)
    assert list((tmp_path / "plan").iterdir()) == []
    honest = tmp_path / "honest.gz"
    honest.write_bytes(gzip.compress(b"a" * 1000))
    with pytest.raises(SpecError, match="unpack it by hand"):
        decompress(honest, tmp_path / "unpacked", limit=999)
    decompress(honest, tmp_path / "unpacked", limit=1000)
    assert (tmp_path / "unpacked").read_bytes() == b"a" * 1000


def test_reading_a_large_file_holds_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    with path.open("w") as file:
        for index in range(20_000):
            file.write(json.dumps({"prompt": f"{index} " + "x" * 1000}) + "\n")
    tracemalloc.start()
    rows = _open(path)
    read = sum(len(rows.row(index)["prompt"]) for index in range(len(rows)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read > 20_000_000
    assert peak < 3_000_000
