"""States on the disk: what is added comes back, the safetensors library agrees, and a damaged part is named."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from latentext.dataset.parts import ROW_COLUMNS, encode_header, open_part, widen
from latentext.dataset.receipts import sha256_of
from latentext.dataset.states import StatesWriter
from latentext.errors import DatasetError
from latentext.request import StateRows
from latentext.storage import filesystem

WIDTHS = {"final_norm": 6, "embed": 4}
ROW_BYTES = 24


def make_text(index: int, sample: int, rows: int, dtype: torch.dtype, widths: dict[str, int] = WIDTHS) -> StateRows:
    generator = torch.Generator().manual_seed(1000 * index + sample)
    tensors = {site: torch.randn(rows, width, generator=generator).to(dtype) for site, width in widths.items()}
    steps = np.arange(rows, dtype=np.int32)
    return StateRows(index, sample, steps + 5, steps + 100, steps[::-1].copy(), tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_safetensors_library_reads_what_is_written(tmp_path: Path, dtype: torch.dtype) -> None:
    texts = [make_text(index, sample, 1 + index, dtype) for index, sample in [(2, 0), (0, 1), (1, 0), (0, 0)]]
    writer = StatesWriter(tmp_path, 3, WIDTHS, dtype)
    for text in texts:
        writer.add(text)
    [entry] = writer.close()
    path = tmp_path / "00003-000.safetensors"
    assert (entry.name, entry.rows) == (path.name, 7)
    assert (entry.size, entry.sha256) == (path.stat().st_size, sha256_of(path))
    in_order = sorted(texts, key=lambda text: (text.index, text.sample))
    loaded = load_file(path)
    assert list(loaded) and set(loaded) == {*ROW_COLUMNS, *WIDTHS}
    for site in WIDTHS:
        assert loaded[site].dtype == dtype
        assert torch.equal(loaded[site], torch.cat([text.tensors[site] for text in in_order]))
    assert loaded["index"].tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert loaded["sample"].tolist() == [0, 1, 0, 0, 0, 0, 0]
    for name in ("position", "token_id", "remaining"):
        assert loaded[name].dtype == torch.int32
        assert loaded[name].tolist() == np.concatenate([getattr(text, name) for text in in_order]).tolist()
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format_version": "1"}
        assert torch.equal(file.get_slice("embed")[2:4], loaded["embed"][2:4])


def test_the_reader_maps_the_same_bits(tmp_path: Path) -> None:
    text = make_text(0, 0, 9, torch.bfloat16)
    writer = StatesWriter(tmp_path, 0, WIDTHS, torch.bfloat16)
    writer.add(text)
    writer.close()
    part = open_part(tmp_path / "00000-000.safetensors")
    assert part.sites == list(WIDTHS)
    mapped = part.map("embed")
    assert mapped.dtype == np.uint16
    assert torch.equal(torch.from_numpy(mapped.view(np.int16).copy()).view(torch.bfloat16), text.tensors["embed"])
    np.testing.assert_array_equal(widen(mapped, "BF16"), text.tensors["embed"].float().numpy())
    assert not mapped.flags.writeable
    with pytest.raises(DatasetError, match=r"no tensor 'resid_post\.0'; it has: index, .*embed"):
        part.map("resid_post.0")


def test_widening_keeps_every_bfloat16_there_is() -> None:
    bits = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
    expected = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(widen(bits, "BF16").view(np.uint32), expected.view(np.uint32))


def test_the_first_site_begins_on_a_page_and_sites_follow_each_other(tmp_path: Path) -> None:
    writer = StatesWriter(tmp_path, 0, WIDTHS, torch.float32)
    writer.add(make_text(0, 0, 5, torch.float32))
    [entry] = writer.close()
    part = open_part(tmp_path / entry.name)
    offsets = [stored.offset for stored in part.tensors.values()]
    assert offsets == sorted(offsets)
    assert offsets[0] % 8 == 0
    assert part.tensors["final_norm"].offset % 4096 == 0
    assert list(part.tensors) == [*ROW_COLUMNS, *WIDTHS]
    assert part.tensors["embed"].offset - part.tensors["final_norm"].offset == 5 * 6 * 4


def test_parts_are_closed_before_they_grow_too_large_and_texts_stay_whole(tmp_path: Path) -> None:
    row = ROW_BYTES + 10 * 4
    writer = StatesWriter(tmp_path, 0, WIDTHS, torch.float32, part_bytes=5 * row)
    for index, rows in enumerate([2, 3, 1, 9, 2, 2, 2]):
        writer.add(make_text(index, 0, rows, torch.float32))
        assert not list(tmp_path.glob("*.safetensors"))
    entries = writer.close()
    assert [entry.rows for entry in entries] == [5, 1, 9, 4, 2]
    found = [open_part(tmp_path / entry.name).read_rows()["index"] for entry in entries]
    assert [sorted(set(index.tolist())) for index in found] == [[0, 1], [2], [3], [4, 5], [6]]


def test_the_same_texts_in_the_same_order_give_the_same_bytes(tmp_path: Path) -> None:
    sums = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        writer = StatesWriter(tmp_path / name, 0, WIDTHS, torch.float16, part_bytes=500)
        for index in (3, 1, 2, 0):
            writer.add(make_text(index, 0, 4, torch.float16))
        sums.append([entry.sha256 for entry in writer.close()])
    assert sums[0] == sums[1]
    assert len(sums[0]) > 1


def test_a_shard_without_rows_has_no_parts(tmp_path: Path) -> None:
    assert StatesWriter(tmp_path, 0, WIDTHS, torch.float32).close() == []
    assert list(tmp_path.iterdir()) == []


def test_an_abort_leaves_nothing_and_what_was_there_stays(tmp_path: Path) -> None:
    before = tmp_path / "00000-000.safetensors"
    before.write_bytes(b"before")
    writer = StatesWriter(tmp_path, 0, WIDTHS, torch.float32, part_bytes=1)
    for index in range(3):
        writer.add(make_text(index, 0, 2, torch.float32))
    assert len(list(tmp_path.iterdir())) == 3
    writer.abort()
    assert [path.name for path in tmp_path.iterdir()] == [before.name]
    assert before.read_bytes() == b"before"


def test_a_shorter_version_of_a_shard_removes_the_parts_it_no_longer_has(tmp_path: Path) -> None:
    for part_bytes, parts in [(1, 3), (2**20, 1)]:
        writer = StatesWriter(tmp_path, 0, WIDTHS, torch.float32, part_bytes)
        for index in range(3):
            writer.add(make_text(index, 0, 2, torch.float32))
        assert len(writer.close()) == parts
        assert len(list(tmp_path.iterdir())) == parts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_id": np.arange(4)}, "3 positions, 4 tokens"),
        ({"position": np.array([5, 7, 6])}, "positions do not ascend"),
        ({"tensors": {"embed": torch.zeros(3, 4)}}, r"has \['embed'\], expected \['embed', 'final_norm'\]"),
        ({"tensors": {"embed": torch.zeros(3, 4), "final_norm": torch.zeros(2, 6)}}, r"final_norm is .*\[2, 6\]"),
        ({"tensors": {"embed": torch.zeros(3, 5), "final_norm": torch.zeros(3, 6)}}, r"embed is .*\[3, 5\]"),
        (
            {"tensors": {"embed": torch.zeros(3, 4), "final_norm": torch.zeros(3, 6).half()}},
            "final_norm is torch.float16",
        ),
        ({"tensors": {"embed": torch.zeros(4, 3).T, "final_norm": torch.zeros(3, 6)}}, "contiguous: False"),
    ],
)
def test_states_that_do_not_fit_are_refused_before_they_are_written(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    text = make_text(7, 1, 3, torch.float32)
    fields = {name: getattr(text, name) for name in ("position", "token_id", "remaining", "tensors")}
    writer = StatesWriter(tmp_path, 0, WIDTHS, torch.float32)
    with pytest.raises(DatasetError, match=f"states of request 7, sample 1: .*{message}"):
        writer.add(StateRows(7, 1, **{**fields, **change}))


def header_of(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def with_header(path: Path, header: object) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


@pytest.fixture
def part(tmp_path: Path) -> Path:
    writer = StatesWriter(tmp_path, 0, WIDTHS, torch.float32)
    writer.add(make_text(0, 0, 5, torch.float32))
    return tmp_path / writer.close()[0].name


@pytest.mark.parametrize("length", [0, 7, 2**63, 2**64 - 1, 10**12, 100_000_001])
def test_an_absurd_header_length_is_damage(part: Path, length: int) -> None:
    part.write_bytes(length.to_bytes(8, "little") + part.read_bytes()[8:])
    with pytest.raises(DatasetError, match=r"00000-000\.safetensors: truncated or damaged"):
        open_part(part)


@pytest.mark.parametrize(
    ("tensor", "change"),
    [
        ("embed", {"data_offsets": [0, 80]}),
        ("embed", {"data_offsets": [240, 10**15]}),
        ("embed", {"data_offsets": [-80, 0]}),
        ("embed", {"data_offsets": [240]}),
        ("embed", {"data_offsets": [1e400, 1]}),
        ("embed", {"shape": [5, -4]}),
        ("embed", {"shape": [10**9, 10**9]}),
        ("embed", {"shape": [20]}),
        ("embed", {"shape": [4, 5]}),
        ("embed", {"dtype": "F64"}),
        ("index", {"dtype": "F32", "shape": [10]}),
        ("embed", None),
    ],
)
def test_tensors_that_overlap_leave_gaps_or_reach_too_far_are_damage(
    part: Path, tensor: str, change: dict[str, object] | None
) -> None:
    header = header_of(part)
    if change is None:
        del header[tensor]
    else:
        header[tensor] = {**header[tensor], **change}  # type: ignore[dict-item]
    with_header(part, header)
    with pytest.raises(DatasetError, match=r"00000-000\.safetensors: truncated or damaged"):
        open_part(part)


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"nonsense", b'{"index":1}', b"\xff", b"[" * 300, b'{"__metadata__":3}']
)
def test_a_header_that_is_none_is_damage(part: Path, header: bytes) -> None:
    with_header(part, header)
    with pytest.raises(DatasetError, match=r"00000-000\.safetensors: truncated or damaged"):
        open_part(part)


def test_a_part_of_a_newer_format_is_refused_by_its_version(part: Path) -> None:
    with_header(part, {**header_of(part), "__metadata__": {"format_version": "2"}})
    with pytest.raises(DatasetError, match="format version 2, this latentext reads up to 1; update latentext"):
        open_part(part)


def test_a_flipped_bit_in_a_header_never_crashes_the_reader(part: Path) -> None:
    whole = part.read_bytes()
    generator = random.Random(0)
    for _ in range(600):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(encode_header(5, WIDTHS, "float32")))] ^= 1 << generator.randrange(8)
        part.write_bytes(damaged)
        try:
            opened = open_part(part)
            for name in opened.tensors:
                opened.map(name).sum()
        except DatasetError as error:
            assert part.name in str(error)


def test_a_truncated_part_is_damage(part: Path) -> None:
    whole = part.read_bytes()
    for length in [0, 1, 8, 100, len(whole) - 1]:
        part.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match="truncated or damaged"):
            open_part(part)


def test_a_part_behind_a_link_is_the_part(part: Path) -> None:
    link = part.with_name("00001-000.safetensors")
    link.symlink_to(part)
    assert open_part(link).tensors == open_part(part).tensors
    part.unlink()
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        open_part(link)


def test_a_thread_that_writes_behind_gives_the_same_files(tmp_path: Path) -> None:
    texts = [make_text(index, 0, 3, torch.float32) for index in range(12)]
    written = {}
    for behind in (False, True):
        folder = tmp_path / str(behind)
        folder.mkdir()
        writer = StatesWriter(folder, 0, WIDTHS, torch.float32, part_bytes=500, behind=behind)
        for text in texts:
            writer.add(text)
        entries = writer.close()
        written[behind] = entries, [(folder / entry.name).read_bytes() for entry in entries]
    assert written[True] == written[False]
    assert len(written[True][0]) > 3


def test_what_the_thread_meets_is_raised_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StatesWriter(tmp_path, 0, WIDTHS, torch.float32, part_bytes=500, behind=True)

    def full(*_: object) -> None:
        raise DatasetError("the disk is full")

    with pytest.raises(DatasetError, match="full"):
        for index in range(40):
            writer.add(make_text(index, 0, 3, torch.float32))
            monkeypatch.setattr(filesystem, "write", full)
        writer.close()
    writer.abort()
    assert list(tmp_path.iterdir()) == []
