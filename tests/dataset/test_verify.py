"""What `verify_files` finds: every fault that is planted, and nothing in a sound dataset."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.dataset.made import SITES

from latentext.dataset import layout
from latentext.dataset.documents import read_spec
from latentext.dataset.parts import open_part
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.receipts import FileEntry, read_receipt, sha256_of, write_receipt
from latentext.dataset.records import read_records
from latentext.dataset.tables import write_table
from latentext.dataset.verify import verify_files
from latentext.dataset.views import write_views
from latentext.errors import DatasetError

Maker = Callable[..., Dataset]
RECORDS, STATES = "records/s0000-0000", "states/first-0"


@pytest.fixture
def root(make_dataset: Maker) -> Path:
    """A finished dataset with one failed request."""
    root = make_dataset(10, failed={6: "the prompt has 3000 tokens"}).directory
    write_views(root, read_spec(root), requests=10)
    return root


def recommit(root: Path, stage: str, shard: int, **changes: object) -> None:
    """Write a receipt that fits the files as they are now: a fault that checksums cannot find."""
    path = root / stage / layout.receipt_name(shard)
    before = read_receipt(path)
    files = []
    for file in before.files:
        data = path.with_name(file.name)
        files.append(FileEntry(name=file.name, sha256=sha256_of(data), size=data.stat().st_size, rows=file.rows))
    fields = {
        "stage": stage,
        "shard": shard,
        "start": before.start,
        "stop": before.stop,
        "files": files,
        "upstream": {name: sha256_of(root / name) for name in before.upstream},
        "how": before.how,
        "counts": before.counts,
        "failures": before.failures,
    }
    write_receipt(path, **{**fields, **changes})


def change_records(root: Path, shard: int, column: str, change: Callable[[list], object]) -> None:
    """Change a column of a records file, and everything else so that it fits."""
    path = root / RECORDS / layout.table_name(shard)
    table = read_records([path])
    values = table[column].to_pylist()
    change(values)
    place = table.column_names.index(column)
    write_table(
        path, table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))
    )
    recommit(root, RECORDS, shard)
    recommit(root, STATES, shard)


def change_states(root: Path, shard: int, name: str, change: Callable[[np.ndarray], object]) -> None:
    """Change a tensor of a states part in place, and its receipt so that it fits."""
    path = root / STATES / layout.part_name(shard, 0)
    stored = open_part(path).tensors[name]
    change(np.memmap(path, stored.numpy_dtype, "r+", stored.offset, stored.shape))
    recommit(root, STATES, shard)


def found(root: Path, **options: object) -> list[str]:
    return [str(finding) for finding in verify_files(root, **options)]


def test_nothing_is_found_in_a_sound_dataset(root: Path) -> None:
    assert found(root, bos_token_id=1, bos_required=True) == []


@pytest.mark.parametrize(
    "options", [{"samples": (range(2), range(2, 3))}, {"pools": ("mean", "max")}, {"part_bytes": 500}]
)
def test_nothing_is_found_in_sound_datasets_of_other_shapes(make_dataset: Maker, options: dict[str, object]) -> None:
    root = make_dataset(10, **options).directory
    write_views(root, read_spec(root), requests=10)
    unplanned = [line for line in found(root) if not line.startswith("metadata.json")]
    assert unplanned == []


def test_states_shifted_by_one_row_are_found(root: Path) -> None:
    def shift(positions: np.ndarray) -> None:
        positions[:] = positions + 1

    change_states(root, 1, "position", shift)
    lines = found(root)
    assert len(lines) == 3  # Three texts of shard 1; the fourth failed.
    assert lines[0] == (
        f"{STATES}/00001-000.safetensors: the states of request 4, sample 0 do not fit its token ids: "
        "position 5 instead of 4 in its row 0"
    )


def test_a_token_that_is_not_in_the_text_is_found(root: Path) -> None:
    def plant(token_ids: np.ndarray) -> None:
        token_ids[3] = 7

    change_states(root, 0, "token_id", plant)
    assert ["token_id 7 instead of" in line for line in found(root)] == [True]


def test_a_wrong_number_of_remaining_tokens_is_found(root: Path) -> None:
    def plant(remaining: np.ndarray) -> None:
        remaining[0] += 1

    change_states(root, 0, "remaining", plant)
    assert ["do not fit its token ids: remaining" in line for line in found(root)] == [True]


def test_states_of_a_text_that_stand_twice_or_nowhere_are_found(root: Path) -> None:
    def rename(index: np.ndarray) -> None:
        index[index == 2] = 1

    change_states(root, 0, "index", rename)
    lines = found(root)
    assert any("the states of request 1, sample 0 do not fit" in line for line in lines)
    assert any("no states of request 2, sample 0" in line for line in lines)


def test_a_doubled_and_a_missing_bos_are_found(root: Path) -> None:
    def double(prompts: list[list[int]]) -> None:
        prompts[0][1] = 1
        prompts[1][0] = 5

    change_records(root, 0, "prompt_token_ids", double)
    assert found(root) == []
    assert found(root, bos_token_id=1, bos_required=True) == [
        f"{RECORDS}/00000.parquet: the prompts of 1 requests begin with two BOS, request 0 first",
        f"{RECORDS}/00000.parquet: the prompts of 1 requests do not begin with BOS, request 1 first",
    ]


def test_two_requests_with_one_key_are_found(root: Path) -> None:
    def copy(keys: list[str]) -> None:
        keys[1] = f"{9:064x}"

    change_records(root, 0, "key", copy)
    assert found(root) == [f"{RECORDS}: two requests have the same key"]


def test_a_text_that_stands_twice_is_found(root: Path) -> None:
    def copy(index: list[int]) -> None:
        index[1] = 0

    change_records(root, 0, "index", copy)
    assert any("rows are twice there" in line for line in found(root))


def test_rows_of_another_shard_are_found(root: Path) -> None:
    change_records(root, 0, "index", lambda index: index.__setitem__(3, 8))
    assert any("has requests outside 0 … 3" in line for line in found(root))


def test_counts_that_do_not_add_up_are_found(root: Path) -> None:
    counts = read_receipt(root / RECORDS / layout.receipt_name(1)).counts
    recommit(root, RECORDS, 1, counts={**counts, "accepted": 4})
    assert found(root) == [
        f"{RECORDS}/00001.parquet: accepted is 3, its receipt says 4",
        f"{RECORDS}/00001.parquet: 5 texts are accepted, rejected or failed, 4 were planned",
    ]


def test_shards_that_overlap_are_found(root: Path) -> None:
    recommit(root, RECORDS, 1, start=3)
    assert any("00001.receipt.json: its requests are also in the shard before" in line for line in found(root))


def test_states_of_other_records_are_found(root: Path) -> None:
    recommit(root, STATES, 0, upstream={f"{RECORDS}/00000.parquet": "0" * 64})
    assert found(root) == [
        f"{STATES}/00000.receipt.json: computed from another {RECORDS}/00000.parquet than the present one"
    ]


def test_files_that_nothing_describes_are_found(root: Path) -> None:
    (root / STATES / "00000-007.safetensors").write_bytes(b"old")
    (root / STATES / "notes.txt").write_text("mine")
    (root / "states" / "no stage").mkdir()
    (root / RECORDS / ".00000.parquet.0123abcd-7-0123abcd.tmp").write_bytes(b"unfinished")
    assert sorted(found(root)) == [
        "states/first-0/00000-007.safetensors: no receipt describes it",
        "states/first-0/notes.txt: no receipt describes it",
        "states/no stage: not a part of the dataset",
    ]


@pytest.mark.parametrize("name", ["records", "states", RECORDS, STATES, f"{RECORDS}/00000.parquet", layout.SPEC])
def test_what_was_moved_to_another_disk_and_linked_back_is_sound(root: Path, tmp_path: Path, name: str) -> None:
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    assert found(root) == []
    assert open_dataset(root).records().num_rows == 9
    assert open_dataset(root).states(SITES[0]).shape[0] > 0


def test_links_that_lead_back_or_nowhere_are_found(root: Path, tmp_path: Path) -> None:
    (root / "states/again").symlink_to("first-0")
    (root / "states/circle").symlink_to("circle")
    (root / "notes").symlink_to(tmp_path / "absent")
    assert sorted(found(root)) == [
        "notes: a symbolic link that leads nowhere",
        "states/again: a symbolic link back into the dataset, which is passed over",
        "states/circle: a symbolic link that leads nowhere",
    ]
    assert list(open_dataset(root).captures) == ["first-0"]


@pytest.mark.parametrize("name", ["records", RECORDS, "states", STATES])
def test_a_disk_that_is_not_mounted_is_named(root: Path, tmp_path: Path, name: str) -> None:
    (root / name).rename(tmp_path / "gone")
    (root / name).symlink_to(tmp_path / "elsewhere")
    for look in (found, lambda root: open_dataset(root).captures and open_dataset(root).records()):
        with pytest.raises(DatasetError, match=rf"{name}: a symbolic link to .*elsewhere, which is not there; mount"):
            look(root)


def test_a_capture_that_holds_other_sites_than_it_declares_is_found(make_dataset: Maker, root: Path) -> None:
    other = make_dataset(10, failed={6: "x"}, pools=("last", "mean")).directory
    for name in ("00000-000.safetensors",):
        (root / STATES / name).write_bytes((other / STATES / name).read_bytes())
    recommit(root, STATES, 0)
    assert any("stage.json declares" in line and SITES[0] in line for line in found(root))


def test_a_missing_file_is_found(root: Path) -> None:
    (root / STATES / "00001-000.safetensors").unlink()
    assert found(root) == [f"{STATES}/00001-000.safetensors: No such file or directory"]


def test_views_that_say_something_else_are_found(root: Path) -> None:
    metadata = json.loads((root / layout.METADATA).read_bytes())
    metadata["counts"]["accepted"] += 1
    (root / layout.METADATA).write_text(json.dumps(metadata, indent=2) + "\n")
    (root / layout.FAILURES).write_text("")
    lines = found(root)
    assert [line.split(":")[0] for line in lines] == [layout.FAILURES, layout.METADATA]


@pytest.mark.parametrize("bits", [1, 3])
def test_a_flipped_bit_anywhere_in_a_published_file_is_found(root: Path, bits: int) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    kinds = {path.name.split(".", 1)[-1] for path in files}
    assert kinds == {"parquet", "receipt.json", "safetensors", "json", "jsonl", "yaml", "md"}
    generator = random.Random(bits)
    for _ in range(80):
        path = generator.choice(files)
        whole, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        damaged = bytearray(whole)
        for _ in range(bits):
            damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        if damaged == whole:
            continue
        path.write_bytes(damaged)
        os.utime(path, ns=times)  # As a failing disk would do it: no sign but the bytes themselves.
        assert found(root), f"{path.relative_to(root)} was damaged"
        path.write_bytes(whole)
        os.utime(path, ns=times)
    assert found(root) == []


def test_truncated_files_are_found(root: Path) -> None:
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        for size in {0, 1, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:size])
            assert any(path.name in line for line in found(root)), f"{path.relative_to(root)} cut to {size} bytes"
        path.write_bytes(whole)
        os.utime(path, ns=times)


def test_a_file_of_a_newer_format_is_named(root: Path) -> None:
    path = root / RECORDS / "00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"format_version": "2"}), path)
    recommit(root, RECORDS, 0)
    recommit(root, STATES, 0)
    assert f"{RECORDS}/00000.parquet: written in format version 2, this latentext reads up to 1" in found(root)
