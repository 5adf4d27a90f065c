"""Names in a dataset directory, and what a listing takes for data."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from latentext.dataset import layout
from latentext.dataset.stages import StatesStage, declared_stages, read_stage, tensor_names, write_stage
from latentext.errors import DatasetError


def test_names_are_those_of_the_format() -> None:
    assert layout.records_folder(range(32)) == "records/s0000-0031"
    assert layout.records_folder(range(32, 12_000)) == "records/s0032-11999"
    assert layout.samples_of("records/s0032-11999") == range(32, 12_000)
    assert layout.receipt_name(7) == "00007.receipt.json"
    assert layout.table_name(123_456) == "123456.parquet"
    assert layout.part_name(7, 3) == "00007-003.safetensors"


@pytest.mark.parametrize("number", [0, 7, 99_999, 100_000, 1_234_567])
def test_a_file_name_tells_its_shard(number: int) -> None:
    for name in (layout.receipt_name(number), layout.table_name(number), layout.part_name(number, 1000)):
        assert layout.shard_of(name) == number


@pytest.mark.parametrize(
    "name",
    [
        "0.parquet",
        "000000.parquet",
        "00000.parquet.tmp",
        ".00000.parquet",
        "00000-0.safetensors",
        "00000.parquet\n",
        "٠٠٠٠٠.parquet",
    ],
)
def test_other_names_belong_to_no_shard(name: str) -> None:
    assert layout.shard_of(name) is None


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "-x", "a b", "é", "a\n", "x" * 101])
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    for make in (layout.states_folder, layout.scores_folder):
        with pytest.raises(ValueError, match="cannot name a folder"):
            make(name)
    assert not layout.is_stage(f"states/{name}")


@pytest.mark.parametrize("samples", [range(0), range(0, 4, 2), range(-1, 3)])
def test_samples_that_are_no_range_are_refused(samples: range) -> None:
    with pytest.raises(ValueError, match="consecutive"):
        layout.records_folder(samples)


def test_listings_pass_over_what_is_not_ours(tmp_path: Path) -> None:
    for stage in ("records/s0032-0063", "records/s0000-0031", "states/b", "states/a", "scores/r-01234567"):
        (tmp_path / stage).mkdir(parents=True)
    for other in ("records/s1-2", "records/s00000-00001", "states/.a.tmp", "states/a b", "other/x"):
        (tmp_path / other).mkdir(parents=True)
    (tmp_path / "states/link").symlink_to(tmp_path / "states/a")
    (tmp_path / "states/file").write_text("")
    (tmp_path / "pairs").symlink_to(tmp_path / "states")
    assert layout.list_stages(tmp_path) == [
        "records/s0000-0031",
        "records/s0032-0063",
        "scores/r-01234567",
        "states/a",
        "states/b",
    ]
    assert declared_stages(tmp_path, "states") == []
    (tmp_path / "states/b/stage.json").write_text("")
    assert declared_stages(tmp_path, "states") == ["states/b"]
    folder = tmp_path / "states/a"
    for name in ("00010.receipt.json", "00002.receipt.json", "100000.receipt.json", "copy.receipt.json"):
        (folder / name).write_text("")
    (folder / "00001.receipt.json").symlink_to(folder / "00002.receipt.json")
    with pytest.raises(DatasetError, match=r"states/a/stage\.json: missing; remove the folder states/a"):
        declared_stages(tmp_path, "states")
    (folder / "00003.receipt.json").mkdir()
    assert layout.list_shards(tmp_path, "states/a") == [2, 10, 100_000]
    assert layout.list_shards(tmp_path, "states/link") == []
    assert layout.list_shards(tmp_path, "states/absent") == []


def test_a_stage_read_back_keeps_the_order_in_which_its_parts_store_the_sites(tmp_path: Path) -> None:
    sites = ("final_norm", "embed", "resid_post.10", "resid_post.2")
    names = tensor_names(sites, ("mean", "first"))
    declared = StatesStage(
        samples=(0, 1),
        sites=sites,
        positions="generated",
        pool=("mean", "first"),
        dtype="float32",
        how="inflight",
        widths=dict.fromkeys(sorted(names), 4),
        num_layers=12,
        huggingface_indices=(11, 0, 11, 3),
    )
    write_stage(tmp_path, "states/a", declared)
    assert tuple(read_stage(tmp_path, "states/a", StatesStage).widths) == tuple(declared.widths) == names
    assert names[:3] == ("final_norm:mean", "final_norm:first", "embed:mean")


def test_a_stage_whose_widths_are_not_of_its_sites_is_refused() -> None:
    fields = {"samples": (0, 1), "positions": "last", "dtype": "float32", "how": "replay", "num_layers": 5}
    with pytest.raises(ValidationError, match=r"widths of \['embed'\], where sites and pool name \['final_norm'\]"):
        StatesStage(**fields, sites=("final_norm",), pool=("none",), widths={"embed": 4}, huggingface_indices=(5,))
