"""What a reader sees of a dataset directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.dataset.made import SITES, generated_ids, make_states, prompt_ids

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.errors import DatasetError

Maker = Callable[..., Dataset]


def expected_states(places: list[tuple[int, int]], site: str, dtype: torch.dtype) -> torch.Tensor:
    return torch.cat([make_states(index, sample, dtype).tensors[site] for index, sample in places])


def test_records_come_in_the_order_of_index_and_sample_over_shards_and_sample_ranges(make_dataset: Maker) -> None:
    data = make_dataset(10, samples=(range(2), range(2, 3)))
    table = data.records()
    assert list(zip(table["index"].to_pylist(), table["sample"].to_pylist(), strict=True)) == [
        (index, sample) for index in range(10) for sample in range(3)
    ]
    row = table.slice(4, 1).to_pylist()[0]
    assert (row["index"], row["sample"]) == (1, 1)
    assert row["token_ids"] == generated_ids(1, 1)
    assert row["prompt_token_ids"] == prompt_ids(1)
    assert json.loads(row["messages"]) == [{"role": "user", "content": "Say é world"}]
    assert row["usage"] == {"prompt_tokens": len(prompt_ids(1)), "completion_tokens": len(generated_ids(1, 1))}
    assert row["logprobs"] is None


def test_columns_of_records_can_be_chosen(make_dataset: Maker) -> None:
    data = make_dataset(6, samples=(range(1), range(1, 2)))
    assert data.records(["text"]).column_names == ["text"]
    assert data.records(["text"])["text"].to_pylist()[:3] == ["text 0.0", "text 0.1", "text 1.0"]
    with pytest.raises(DatasetError, match=r"no column 'txt'.*finish_reason"):
        data.records(["txt"])


def test_pandas_gets_variables_as_columns(make_dataset: Maker) -> None:
    frame = make_dataset(6).to_pandas()
    assert frame["word"].tolist() == ["hello", "world", "cat"] * 2
    assert frame["count"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame["messages"][0] == [{"role": "user", "content": "Say é hello"}]
    assert "variables" not in frame
    assert frame["completion_tokens"].tolist() == [len(generated_ids(i, 0)) for i in range(6)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("part_bytes", [1, 500, 2**20])
def test_states_of_a_site_are_one_array_however_they_are_cut_into_files(
    make_dataset: Maker, dtype: torch.dtype, part_bytes: int
) -> None:
    data = make_dataset(10, samples=(range(2), range(2, 3)), dtype=dtype, part_bytes=part_bytes)
    expected = expected_states([(i, s) for i in range(10) for s in range(3)], "final_norm", dtype)
    view = data.states("final_norm")
    assert view.shape == tuple(expected.shape)
    assert len(view) == len(expected)
    assert view.dtype == (np.float16 if dtype == torch.float16 else np.float32)
    np.testing.assert_array_equal(view[:], expected.to(torch.float32).numpy())
    assert view.torch().dtype == dtype
    assert torch.equal(view.torch(), expected)


@pytest.mark.parametrize("part_bytes", [500, 2**20])
def test_any_selection_of_rows_gives_what_numpy_gives(make_dataset: Maker, part_bytes: int) -> None:
    view = make_dataset(10, part_bytes=part_bytes).states("embed")
    whole = view[:]
    count = len(view)
    random = np.random.default_rng(0)
    mask = random.random(count) < 0.3
    selections = [
        slice(3, 17),
        slice(None, None, 3),
        slice(None, None, -1),
        slice(count - 2, count + 5),
        slice(5, 5),
        slice(9, 3),
        slice(-4, None),
        random.integers(-count, count, 50),
        [count - 1, 0, 0],
        mask,
        [],
    ]
    for selection in selections:
        np.testing.assert_array_equal(view[selection], whole[selection])
        assert torch.equal(view.torch(selection), torch.from_numpy(np.ascontiguousarray(whole[selection])).bfloat16())
    np.testing.assert_array_equal(view[...], whole)
    np.testing.assert_array_equal(view[-1], whole[-1])
    assert view[7].shape == (view.width,)
    assert view.torch(7).shape == (view.width,)


@pytest.mark.parametrize("bad", [10**6, -(10**6), [0, 10**6], np.ones(3, bool), np.array([0.5]), np.zeros((2, 2), int)])
def test_a_selection_that_does_not_fit_is_refused(make_dataset: Maker, bad: object) -> None:
    view = make_dataset(4).states("embed")
    with pytest.raises((IndexError, TypeError)):
        view[bad]


def test_rows_say_which_token_each_state_predicts(make_dataset: Maker) -> None:
    data = make_dataset(10, samples=(range(2),), part_bytes=500)
    rows = data.states("embed").rows
    ids, remaining, position, index = [], [], [], []
    for i in range(10):
        for s in range(2):
            generated = generated_ids(i, s)
            ids += generated
            remaining += range(len(generated) - 1, -1, -1)
            position += range(len(prompt_ids(i)) - 1, len(prompt_ids(i)) + len(generated) - 1)
            index += [i] * len(generated)
    assert rows["token_id"].tolist() == ids
    assert rows["remaining"].tolist() == remaining
    assert rows["position"].tolist() == position
    assert rows["index"].tolist() == index


@pytest.mark.parametrize("part_bytes", [500, 2**20])
def test_align_at_names_the_token_a_state_stands_on_and_keeps_the_rows(make_dataset: Maker, part_bytes: int) -> None:
    view = make_dataset(6, samples=(range(2),), part_bytes=part_bytes).states("embed")
    at = view.align_at()
    expected = []
    for i in range(6):
        for s in range(2):
            expected += [prompt_ids(i)[-1], *generated_ids(i, s)[:-1]]
    assert at.rows["token_id"].tolist() == expected
    np.testing.assert_array_equal(at[:], view[:])
    for name in ("index", "sample", "position", "remaining"):
        np.testing.assert_array_equal(at.rows[name], view.rows[name])


def test_the_states_of_one_text_are_found(make_dataset: Maker) -> None:
    view = make_dataset(10, samples=(range(2),), part_bytes=500, failed={3: "too long"}).states("final_norm")
    where = view.text(7, 1)
    assert view.rows["token_id"][where].tolist() == generated_ids(7, 1)
    np.testing.assert_array_equal(view[where], make_states(7, 1, torch.bfloat16).tensors["final_norm"].float())
    for missing in [(3, 0), (7, 2), (99, 0)]:
        with pytest.raises(DatasetError, match=f"no states of request {missing[0]}, sample {missing[1]}"):
            view.text(*missing)


def test_shards_of_a_view_together_are_the_view(make_dataset: Maker) -> None:
    view = make_dataset(10).states("embed")
    shards = list(view.shards())
    assert len(shards) == 3
    np.testing.assert_array_equal(np.concatenate([shard[:] for shard in shards]), view[:])
    np.testing.assert_array_equal(np.concatenate([shard.rows for shard in shards]), view.rows)


def test_a_view_opens_no_file_before_it_is_indexed_and_few_after(
    make_dataset: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[object, ...]] = []
    memmap = np.memmap
    monkeypatch.setattr(np, "memmap", lambda *args: opened.append(args) or memmap(*args))
    view = make_dataset(40, shard_size=1).states("embed")
    assert view.shape[0] > 0
    assert not opened
    assert view[0].shape == (view.width,)
    assert len(opened) == 1
    view[:]
    assert len(view._open._kept) <= 16


def test_a_number_stands_for_a_site_as_in_hugging_face(make_dataset: Maker) -> None:
    data = make_dataset(4)
    for number, site in [(0, "embed"), (4, "final_norm"), (-1, "final_norm"), (-5, "embed")]:
        assert data.states(number).site == site
    with pytest.raises(
        DatasetError, match="layer 1 was not captured; captured sites are: layer 0, embed; layer 4, final_norm"
    ):
        data.states(1)


def test_a_site_that_was_not_captured_is_refused_with_those_that_were(make_dataset: Maker) -> None:
    data = make_dataset(4)
    with pytest.raises(
        DatasetError,
        match=r"site 'resid_post.2' was not captured; captured sites are: layer 0, embed; layer 4, final_norm",
    ):
        data.states("resid_post.2")
    with pytest.raises(DatasetError, match="captured with positions='prompt'; captured: positions='generated'"):
        data.states("embed", positions="prompt")
    with pytest.raises(DatasetError, match="no capture 'second'; captures are: first-0"):
        data.states("embed", capture="second")
    with pytest.raises(DatasetError, match="no states were captured"):
        make_dataset(4, states=False).states("embed")


def test_pooled_states_have_one_row_a_text(make_dataset: Maker) -> None:
    data = make_dataset(5, pools=("last", "mean"))
    view = data.states("embed", pool="mean")
    assert view.shape == (5, 8)
    assert view.rows["index"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(DatasetError, match="name one: pool='last' or pool='mean'"):
        data.states("embed")


def test_the_row_of_a_state_before_the_answer_stands_on_the_last_token_of_the_prompt(make_dataset: Maker) -> None:
    data = make_dataset(5, samples=(range(2),), pools=("mean", "first", "last"))
    texts = data.records(["index", "sample", "prompt_token_ids", "token_ids"]).to_pylist()
    view, last = data.states("embed", pool="first"), data.states("embed", pool="last")
    for row, end, at, text in zip(view.rows, last.rows, view.align_at().rows, texts, strict=True):
        prompt, answer = text["prompt_token_ids"], text["token_ids"]
        assert (row["index"], row["sample"]) == (text["index"], text["sample"])
        assert (row["position"], row["token_id"], row["remaining"]) == (len(prompt) - 1, answer[0], len(answer) - 1)
        assert at["token_id"] == prompt[-1]
        assert (end["position"], end["remaining"]) == (len(prompt) + len(answer) - 2, 0)


def test_rows_of_states_find_their_records(make_dataset: Maker) -> None:
    data = make_dataset(10, samples=(range(1), range(1, 3)), failed={4: "too long"})
    view = data.states("embed")
    numbers = data.record_numbers(view)
    records = data.records(["index", "sample"])
    np.testing.assert_array_equal(records["index"].to_numpy()[numbers], view.rows["index"])
    np.testing.assert_array_equal(records["sample"].to_numpy()[numbers], view.rows["sample"])


def test_a_split_is_read_by_name(make_dataset: Maker) -> None:
    data = make_dataset(10)
    train, val = data.records(["index"], split="train"), data.records(["index"], split="val")
    assert sorted(train["index"].to_pylist() + val["index"].to_pylist()) == list(range(10))
    assert val.num_rows == 1
    with pytest.raises(DatasetError, match="no split 'test'; splits are: train, val"):
        data.records(split="test")


def test_a_shard_without_a_receipt_does_not_exist_for_a_reader(make_dataset: Maker) -> None:
    data = make_dataset(10)
    (data.directory / "records/s0000-0000/00001.receipt.json").unlink()
    again = open_dataset(data.directory)
    assert again.records(["index"])["index"].to_pylist() == [0, 1, 2, 3, 8, 9]


def test_a_damaged_file_is_named_not_skipped(make_dataset: Maker) -> None:
    data = make_dataset(10)
    path = data.directory / "records/s0000-0000/00001.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"00001.parquet: \d+ bytes, its receipt says \d+; run the same command"):
        open_dataset(data.directory).records()


def test_states_whose_records_were_made_again_are_refused(make_dataset: Maker) -> None:
    data, other = make_dataset(10), make_dataset(10, failed={1: "too long"})
    for name in ("00000.parquet", "00000.receipt.json"):
        source = other.directory / "records/s0000-0000" / name
        (data.directory / "records/s0000-0000" / name).write_bytes(source.read_bytes())
    with pytest.raises(DatasetError, match=r"computed from another records/s0000-0000/00000.parquet"):
        open_dataset(data.directory).states("embed")


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"not a dataset directory; it has no spec\.yaml"):
        open_dataset(tmp_path)
    (tmp_path / layout.SPEC).write_text("prompts: [")
    with pytest.raises(DatasetError, match=r"spec\.yaml: "):
        open_dataset(tmp_path)


def test_a_directory_of_a_newer_format_is_refused(make_dataset: Maker) -> None:
    data = make_dataset(2)
    (data.directory / layout.PROVENANCE).write_text('{"format_version": 2}')
    with pytest.raises(DatasetError, match="format version 2, this latentext reads up to 1; update latentext"):
        open_dataset(data.directory)


def test_symbolic_links_are_not_part_of_a_dataset(make_dataset: Maker) -> None:
    data = make_dataset(10)
    (data.directory / "records/s0001-0001").symlink_to(data.directory / "records/s0000-0000")
    (data.directory / "states/linked").symlink_to(data.directory / "states/first-0")
    again = open_dataset(data.directory)
    assert again.records(["index"]).num_rows == 10
    assert list(again.captures) == ["first-0"]


def test_site_names_of_a_capture_are_listed(make_dataset: Maker) -> None:
    capture = make_dataset(2).captures["first-0"]
    assert (capture.sites, capture.positions, capture.pool, capture.dtype) == (
        SITES,
        "generated",
        ("none",),
        "bfloat16",
    )
