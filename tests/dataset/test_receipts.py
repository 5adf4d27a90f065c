"""A shard is done if and only if its receipt exists and can be believed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentext.dataset import layout
from latentext.dataset.receipts import (
    Distrust,
    FileEntry,
    Receipt,
    RecordedFailure,
    check_shard,
    committed,
    read_receipt,
    write_receipt,
)
from latentext.dataset.sealed import canonical_json, seal
from latentext.errors import DatasetError
from latentext.request import Failure
from latentext.storage.atomic import write_bytes

RECORDS, STATES = "records/s0000-0000", "states/final_norm"


def write_file(path: Path, data: bytes, rows: int = 3) -> FileEntry:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)
    return FileEntry(name=path.name, sha256=hashlib.sha256(data).hexdigest(), size=len(data), rows=rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One shard of records and one of states that was computed from it."""
    records = write_file(tmp_path / RECORDS / "00000.parquet", b"records")
    write_receipt(
        tmp_path / RECORDS / "00000.receipt.json",
        stage=RECORDS,
        shard=0,
        start=0,
        stop=4,
        files=[records],
        counts={"planned": 4, "accepted": 3, "failed": 1},
        failures=[Failure(2, 0, "prompt-too-long", "3000 tokens, é")],
    )
    states = [write_file(tmp_path / STATES / layout.part_name(0, part), b"states%d" % part) for part in range(2)]
    write_receipt(
        tmp_path / STATES / "00000.receipt.json",
        stage=STATES,
        shard=0,
        start=0,
        stop=4,
        files=states,
        upstream={f"{RECORDS}/00000.parquet": records.sha256},
        how={"halved": 1},
    )
    return tmp_path


def why(root: Path, stage: str) -> str:
    found = check_shard(root, stage, 0)
    assert isinstance(found, Distrust)
    assert committed(root, stage, 0) is None
    return str(found).removeprefix(f"{root}/")


def age(path: Path, seconds: float) -> None:
    """Make a file look older than it is."""
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def test_a_committed_shard_gives_its_receipt(root: Path) -> None:
    receipt = committed(root, RECORDS, 0)
    assert receipt is not None
    assert (receipt.stage, receipt.shard, receipt.start, receipt.stop, receipt.rows) == (RECORDS, 0, 0, 4, 3)
    assert receipt.failures == (RecordedFailure(index=2, sample=0, reason="prompt-too-long", message="3000 tokens, é"),)
    assert receipt == read_receipt(root / RECORDS / "00000.receipt.json")
    states = committed(root, STATES, 0)
    assert states is not None
    assert [file.name for file in states.files] == ["00000-000.safetensors", "00000-001.safetensors"]


def test_no_receipt_means_not_done_and_nothing_to_say(root: Path) -> None:
    assert check_shard(root, RECORDS, 1) is None
    assert check_shard(root, "records/s0001-0001", 0) is None
    (root / RECORDS / "00000.receipt.json").unlink()
    assert check_shard(root, RECORDS, 0) is None


def test_the_same_work_gives_the_same_bytes(tmp_path: Path) -> None:
    def write(name: str, reverse: bool) -> bytes:
        order = -1 if reverse else 1
        files = [FileEntry(name=layout.part_name(0, i), sha256="0" * 64, size=i, rows=i) for i in range(3)]
        failures = [Failure(i, 0, "r", "m") for i in range(3)]
        pairs = [("b", 1), ("a", 2)]
        write_receipt(
            tmp_path / name,
            stage=STATES,
            shard=0,
            start=0,
            stop=4,
            files=files[::order],
            how=dict(pairs[::order]),
            counts=dict(pairs[::order]),
            failures=failures[::order],
        )
        return (tmp_path / name).read_bytes()

    assert write("one", False) == write("two", True)


def test_every_flipped_byte_of_a_receipt_is_found(root: Path) -> None:
    path = root / STATES / "00000.receipt.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 5):  # Bit 5 turns letters into their other case, the change that parsers forgive most.
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DatasetError, match=r"00000\.receipt\.json"):
                read_receipt(path)
    path.write_bytes(whole)
    assert committed(root, STATES, 0) is not None


def test_every_truncation_of_a_receipt_is_found(root: Path) -> None:
    path = root / RECORDS / "00000.receipt.json"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"00000\.receipt\.json.*(damaged|newer)"):
            read_receipt(path)
    path.write_bytes(whole + b"\n")
    with pytest.raises(DatasetError, match="damaged"):
        read_receipt(path)


def test_a_receipt_of_a_newer_format_is_refused_by_its_version(root: Path) -> None:
    path = root / RECORDS / "00000.receipt.json"
    fields = read_receipt(path).model_dump(mode="json") | {"format_version": 2, "novelty": True}
    path.write_bytes(canonical_json({**fields, "sha256": seal(fields)}))
    with pytest.raises(DatasetError, match="format version 2, this latentext reads up to 1; update latentext"):
        read_receipt(path)
    assert "format version 2" in why(root, RECORDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"files": [{"name": "../../x.parquet", "sha256": "0" * 64, "size": 0, "rows": 0}]},
            "not the name of a data file",
        ),
        ({"files": [{"name": "00000.parquet", "sha256": "short", "size": 0, "rows": 0}]}, "files.0.sha256"),
        ({"files": [{"name": "00000.parquet", "sha256": "0" * 64, "size": -1, "rows": 0}]}, "files.0.size"),
        ({"start": "zero"}, "start"),
        ({"counts": {"planned": 1.5}}, "counts.planned"),
        ({"host": "here"}, "host"),
    ],
)
def test_a_receipt_with_a_right_hash_but_wrong_content_is_malformed(
    root: Path, change: dict[str, Any], message: str
) -> None:
    path = root / RECORDS / "00000.receipt.json"
    fields = read_receipt(path).model_dump(mode="json") | change
    path.write_bytes(canonical_json({**fields, "sha256": seal(fields)}))
    with pytest.raises(DatasetError, match=f"malformed receipt: .*{message}"):
        read_receipt(path)


@pytest.mark.parametrize(
    "content", [b"", b"null\n", b"[]\n", b"1", b'{"format_version":1}', b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_receipt_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "00000.receipt.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"00000\.receipt\.json: .*damaged"):
        read_receipt(path)


def test_a_receipt_in_another_place_is_not_believed(root: Path) -> None:
    other = root / "states/other/00000.receipt.json"
    other.parent.mkdir()
    other.write_bytes((root / STATES / "00000.receipt.json").read_bytes())
    assert why(root, "states/other") == f"states/other/00000.receipt.json: belongs to {STATES}, shard 0"


def test_a_data_file_that_is_missing_or_of_another_size_is_not_believed(root: Path) -> None:
    path = root / STATES / "00000-001.safetensors"
    path.write_bytes(b"states")
    assert why(root, STATES) == f"{STATES}/00000-001.safetensors: 6 bytes, its receipt says 7"
    path.unlink()
    assert why(root, STATES) == f"{STATES}/00000-001.safetensors: No such file or directory"
    os.mkfifo(path)
    assert why(root, STATES) == f"{STATES}/00000-001.safetensors: not a plain file"


def test_a_data_file_that_changed_after_its_receipt_is_hashed(root: Path) -> None:
    path = root / STATES / "00000-000.safetensors"
    for file in (root / STATES).iterdir():
        age(file, 100)
    path.write_bytes(b"states1")
    assert why(root, STATES) == f"{STATES}/00000-000.safetensors: changed after its receipt was written"
    path.write_bytes(b"states0")
    assert committed(root, STATES, 0) is not None  # Newer, as in a copied directory, but the same bytes.


def test_states_are_not_believed_when_their_records_were_computed_again(root: Path) -> None:
    records = write_file(root / RECORDS / "00000.parquet", b"other!!")
    write_receipt(root / RECORDS / "00000.receipt.json", stage=RECORDS, shard=0, start=0, stop=4, files=[records])
    expected = f"{STATES}/00000.receipt.json: computed from another {RECORDS}/00000.parquet than the present one"
    assert why(root, STATES) == expected
    (root / RECORDS / "00000.receipt.json").unlink()
    assert why(root, STATES) == expected


@pytest.mark.parametrize("name", ["../../etc/00000.parquet", "/00000.parquet", "00000.parquet", f"{RECORDS}/passwd"])
def test_upstream_names_cannot_lead_out_of_the_directory(root: Path, name: str) -> None:
    before = committed(root, STATES, 0)
    assert before is not None
    write_receipt(
        root / STATES / "00000.receipt.json",
        stage=STATES,
        shard=0,
        start=0,
        stop=4,
        files=before.files,
        upstream={name: "0" * 64},
    )
    assert "computed from another" in why(root, STATES)


text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    how=st.dictionaries(text, json_values, max_size=4),
    counts=st.dictionaries(text, st.integers(0, 2**60), max_size=4),
    failures=st.lists(
        st.builds(Failure, st.integers(0, 9), st.integers(0, 9), text, st.text()),
        max_size=4,
        unique_by=lambda failure: (failure.index, failure.sample),
    ),
    sizes=st.lists(st.integers(0, 2**50), max_size=3),
)
def test_any_receipt_is_read_back_as_it_was_written(
    tmp_path: Path, how: dict[str, Any], counts: dict[str, int], failures: list[Failure], sizes: list[int]
) -> None:
    path = tmp_path / "00007.receipt.json"
    files = [
        FileEntry(name=layout.part_name(7, part), sha256=f"{part:064x}", size=size, rows=size)
        for part, size in enumerate(sizes)
    ]
    written = write_receipt(
        path, stage=STATES, shard=7, start=1, stop=9, files=files, how=how, counts=counts, failures=failures
    )
    assert read_receipt(path) == written
    assert isinstance(written, Receipt)
    assert written.how == how
    assert [(f.index, f.sample) for f in written.failures] == sorted((f.index, f.sample) for f in failures)
    assert path.read_bytes().endswith(b"}\n")
    write_receipt(
        path, stage=STATES, shard=7, start=1, stop=9, files=files, how=how, counts=counts, failures=failures[::-1]
    )
    assert read_receipt(path) == written
