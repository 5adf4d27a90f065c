"""Exports: the NumPy files of the output-length experiments, JSON lines and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests.dataset.made import generated_ids, make_states

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.receipts import write_receipt
from latentext.dataset.scores import write_scores
from latentext.dataset.splits import parse_split
from latentext.dataset.stages import ScoresStage, write_stage
from latentext.errors import DatasetError, SpecError
from latentext.export.npy import export_npy
from latentext.export.tables import export_table
from latentext.spec import SplitSpec

Maker = Callable[..., Dataset]


def decode(token_id: int) -> str:
    return f"<{token_id}>"


def load(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", allow_pickle=False)


def whole_texts() -> list[int]:
    """Requests of a dataset of ten whose text ended by itself."""
    return [index for index in range(10) if index % 5 != 4]


@pytest.mark.parametrize("part_bytes", [500, 2**20])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
def test_npy_files_hold_the_rows_of_whole_texts_in_order(
    make_dataset: Maker, tmp_path: Path, dtype: torch.dtype, part_bytes: int
) -> None:
    data = make_dataset(10, dtype=dtype, part_bytes=part_bytes)
    out = tmp_path / "npy"
    metadata = export_npy(data, out, decode_token=decode, sites=["final_norm", "embed"], split=SplitSpec(val=0.3))
    parts = data.split(SplitSpec(val=0.3))
    for name in ("train", "val"):
        texts = [index for index in parts[name].tolist() if index in whole_texts()]
        rows = [make_states(index, 0, dtype) for index in texts]
        states = torch.cat([torch.cat([row.tensors[site] for site in ("final_norm", "embed")], 1) for row in rows])
        found = load(out, f"{name}_hidden_states")
        assert found.dtype == (np.float16 if dtype == torch.float16 else np.float32)
        np.testing.assert_array_equal(found, states.float().numpy())
        remaining = load(out, f"{name}_remaining_tokens")
        assert remaining.dtype == np.int64
        assert remaining.tolist() == [n for index in texts for n in reversed(range(len(generated_ids(index, 0))))]
        tokens = load(out, f"{name}_token_metadata")
        assert tokens.dtype == np.dtype([("token_id", "<i4"), ("token_text", "<U100")])
        assert tokens["token_id"].tolist() == [n for index in texts for n in generated_ids(index, 0)]
        assert tokens["token_text"].tolist() == [decode(n) for n in tokens["token_id"]]
        assert metadata["rows"][name] == len(found)
    assert sorted(path.name for path in out.iterdir()) == [
        "metadata.json",
        *(f"train_{what}.npy" for what in ("hidden_states", "remaining_tokens", "token_metadata")),
        *(f"val_{what}.npy" for what in ("hidden_states", "remaining_tokens", "token_metadata")),
    ]


def test_npy_metadata_says_what_was_exported(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(10)
    returned = export_npy(data, tmp_path / "npy", decode_token=decode, split=SplitSpec(val=0.3))
    metadata = json.loads((tmp_path / "npy/metadata.json").read_bytes())
    assert metadata == returned
    assert {name: metadata[name] for name in list(metadata)[:13]} == {
        "dataset_id": "same-prompt",
        "description": "Words, repeated.",
        "model_name": "tiny",
        "prompt_template": "Say {count} {word}",
        "counts_range": [0, 2],
        "words": ["hello", "world", "cat"],
        "total_samples": 8,
        "total_tokens": sum(len(generated_ids(index, 0)) for index in whole_texts()),
        "layers_extracted": ["embed", "final_norm"],
        "num_layers": 5,
        "extracted_layer_indices": [0, 4],
        "hidden_dim_per_layer": 8,
        "total_hidden_dim": 16,
    }
    assert metadata["truncated_texts"] == {"dropped": 2, "kept": 0}


def test_truncated_texts_are_kept_and_marked_when_asked_for(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(10)
    out = tmp_path / "npy"
    metadata = export_npy(data, out, decode_token=decode, truncated="keep", split=SplitSpec(by="index", val=0.3))
    censored = np.concatenate([load(out, f"{name}_censored") for name in ("train", "val")])
    assert censored.sum() == sum(len(generated_ids(index, 0)) for index in (4, 9))
    assert metadata["truncated_texts"] == {"dropped": 0, "kept": 2}
    assert metadata["total_samples"] == 10


def test_the_seeds_cut_divides_rows(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(10, part_bytes=500)
    out = tmp_path / "npy"
    export_npy(data, out, decode_token=decode, sites=["embed"], split=parse_split("rows-sequential:0.9"))
    states = torch.cat([make_states(index, 0, torch.bfloat16).tensors["embed"] for index in whole_texts()])
    train, val = load(out, "train_hidden_states"), load(out, "val_hidden_states")
    assert len(train) == int(len(states) * 0.9)
    np.testing.assert_array_equal(np.concatenate([train, val]), states.float().numpy())


def test_a_state_too_large_for_float16_is_refused_by_name(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(10, dtype=torch.float32)
    part = data.directory / "states/first-0/00001-000.safetensors"
    stored = (
        data.states("final_norm")._part((part, len(list(data.states("final_norm").shards())[1]))).tensors["final_norm"]
    )
    np.memmap(part, "<f4", "r+", stored.offset, stored.shape)[0, 0] = 70_000
    with pytest.raises(DatasetError, match="final_norm has values up to 70000, float16 holds 65504; export as float32"):
        export_npy(data, tmp_path / "npy", decode_token=decode, dtype="float16")
    assert not (tmp_path / "npy").exists()
    metadata = export_npy(data, tmp_path / "embed", decode_token=decode, sites=["embed"], dtype="float16")
    assert load(tmp_path / "embed", "train_hidden_states").dtype == np.float16
    assert metadata["total_hidden_dim"] == 8


def test_an_export_that_is_there_is_replaced_only_when_told(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(10)
    export_npy(data, tmp_path / "npy", decode_token=decode)
    with pytest.raises(SpecError, match="npy: exists already; choose another place, or pass --overwrite to replace it"):
        export_npy(data, tmp_path / "npy", decode_token=decode)
    export_npy(data, tmp_path / "npy", decode_token=decode, overwrite=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "npy"))] == ["npy"]


def test_a_side_without_whole_texts_is_refused(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(5, states=True)
    split = next(
        SplitSpec(by="index", val=0.2, seed=seed)
        for seed in range(100)
        if data.split(SplitSpec(by="index", val=0.2, seed=seed))["val"].tolist() == [4]
    )
    with pytest.raises(DatasetError, match="no rows for val: 5 texts, 1 of them left out because cut"):
        export_npy(data, tmp_path / "npy", decode_token=decode, split=split)


def add_scores(
    data: Dataset, reward: str, folder: str, scored: range = range(10), settings: dict[str, str] | None = None
) -> Dataset:
    """Score all texts of every shard but those that are not in `scored`."""
    stage = layout.scores_folder(folder)
    columns = ("value", "margin")
    declared = ScoresStage(reward=reward, samples=(0, 1), columns=columns, settings=settings or {})
    write_stage(data.directory, stage, declared)
    for number in data.shard_numbers:
        index = [i for i in data.shard_records(number, ["index"])["index"].to_pylist() if i in scored]
        scores = {"value": [i / 2 for i in index], "margin": [None if i == 1 else float(i) for i in index]}
        entry = write_scores(data.directory / stage / layout.table_name(number), index, [0] * len(index), scores)
        path = data.directory / stage / layout.receipt_name(number)
        write_receipt(path, stage=stage, shard=number, start=number * 4, stop=number * 4 + 4, files=[entry])
    return open_dataset(data.directory)


def test_scores_are_read_by_the_name_of_their_reward(make_dataset: Maker) -> None:
    data = add_scores(make_dataset(10, states=False), "harmless", "harmless-0123abcd")
    scores = data.scores("harmless")
    assert scores["index"].to_pylist() == list(range(10))
    assert scores["value"].to_pylist() == [i / 2 for i in range(10)]
    assert scores["margin"].to_pylist()[:3] == [0.0, None, 2.0]
    with pytest.raises(DatasetError, match="no scores 'humor'; scores are: harmless"):
        data.scores("humor")


def test_one_reward_scored_in_two_ways_is_named_by_folder(make_dataset: Maker) -> None:
    data = add_scores(make_dataset(4, states=False), "harmless", "harmless-0123abcd")
    data = add_scores(data, "harmless", "harmless-456789ef", settings={"model": "other"})
    assert list(data.score_sets) == ["harmless-0123abcd", "harmless-456789ef"]
    with pytest.raises(DatasetError, match="no scores 'harmless'; scores are: harmless-0123abcd, harmless-456789ef"):
        data.scores("harmless")


def test_json_lines_have_everything_about_a_text(make_dataset: Maker, tmp_path: Path) -> None:
    data = add_scores(make_dataset(10, states=False), "harmless", "harmless-0123abcd", scored=range(8))
    path = tmp_path / "new folder" / "records.jsonl"
    assert export_table(data, path) == 10
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(10))
    assert rows[1]["variables"] == {"word": "world", "count": 0}
    assert rows[1]["messages"] == [{"role": "user", "content": "Say é world"}]
    assert rows[1]["token_ids"] == generated_ids(1, 0)
    assert (rows[1]["harmless.value"], rows[1]["harmless.margin"]) == (0.5, None)
    assert rows[9]["harmless.value"] is None
    assert "é" in path.read_text()


def test_parquet_has_the_same_rows(make_dataset: Maker, tmp_path: Path) -> None:
    data = add_scores(make_dataset(10, states=False), "harmless", "harmless-0123abcd")
    assert export_table(data, tmp_path / "records.parquet", split="val") == 1
    with pytest.raises(SpecError, match="exists already"):
        export_table(data, tmp_path / "records.parquet")
    assert export_table(data, tmp_path / "records.parquet", overwrite=True) == 10
    table = pq.read_table(tmp_path / "records.parquet")
    assert table.select(data.records().column_names).equals(data.records())
    assert table["harmless.value"].to_pylist() == [i / 2 for i in range(10)]


def test_an_empty_dataset_gives_an_empty_table(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(0, states=False)
    assert export_table(data, tmp_path / "records.jsonl") == 0
    assert (tmp_path / "records.jsonl").read_bytes() == b""
    assert export_table(data, tmp_path / "records.parquet") == 0
    assert pq.read_table(tmp_path / "records.parquet").num_rows == 0


def test_an_unknown_ending_or_split_is_refused(make_dataset: Maker, tmp_path: Path) -> None:
    data = make_dataset(10, states=False)
    with pytest.raises(SpecError, match=r"records\.xlsx: cannot tell the format.*\.jsonl or \.parquet"):
        export_table(data, tmp_path / "records.xlsx")
    with pytest.raises(DatasetError, match="no split 'test'; splits are: train, val"):
        export_table(data, tmp_path / "records.jsonl", split="test")
    assert not (tmp_path / "records.jsonl").exists()
