"""`save_dataset`: flat lists become texts again, and nothing of the user's is overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import latentext
from latentext.errors import ArgumentError, DatasetError, LatentextError
from latentext.export.saving import save_dataset

LENGTHS = (3, 1, 5, 2, 4, 6, 2, 3, 1, 3)


def flat(lengths: tuple[int, ...] = LENGTHS, width: int = 4) -> tuple[list[Any], list[int], list[dict[str, Any]]]:
    """Rows that tell which text and step they are of."""
    rows = [(text, step, length - 1 - step) for text, length in enumerate(lengths) for step in range(length)]
    states = [np.full(width, text + step / 16, np.float32) for text, step, _ in rows]
    tokens = [{"token_id": 100 * text + step, "token_text": f" t{text}"} for text, step, _ in rows]
    return states, [remaining for *_, remaining in rows], tokens


def loaded(folder: Path, name: str) -> dict[str, Any]:
    return {split: np.load(folder / f"{split}_{name}.npy") for split in ("train", "val")}


def test_texts_stay_whole_and_in_order(tmp_path: Path) -> None:
    metadata = save_dataset(tmp_path / "out", *flat(), train_val_split=0.7)
    texts = {split: rows["token_id"] // 100 for split, rows in loaded(tmp_path / "out", "token_metadata").items()}
    assert set(texts["train"]) | set(texts["val"]) == set(range(10))
    assert not set(texts["train"]) & set(texts["val"])
    assert len(set(texts["val"])) == 3
    for split, states in loaded(tmp_path / "out", "hidden_states").items():
        assert states.dtype == np.float32
        assert (np.floor(states[:, 0]) == texts[split]).all()
        assert (np.diff(texts[split]) >= 0).all()
        remaining = loaded(tmp_path / "out", "remaining_tokens")[split]
        assert remaining.dtype == np.int64 and (remaining == 0).sum() == len(set(texts[split]))
    assert metadata["total_samples"] == 10 and metadata["total_tokens"] == sum(LENGTHS)
    assert json.loads((tmp_path / "out" / "metadata.json").read_text()) == metadata


def test_the_seeds_cut_is_by_rows(tmp_path: Path) -> None:
    states, remaining, tokens = flat()
    save_dataset(tmp_path, states, remaining, tokens, train_val_split="rows-sequential:0.9")
    cut = int(0.9 * len(states))
    found = loaded(tmp_path, "token_metadata")
    assert found["train"]["token_id"].tolist() == [token["token_id"] for token in tokens[:cut]]
    assert found["val"]["token_id"].tolist() == [token["token_id"] for token in tokens[cut:]]


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda states: np.stack(states), "float32"),
        (lambda states: [torch.from_numpy(state).bfloat16() for state in states], "float32"),
        (lambda states: [state.astype(np.float16) for state in states], "float16"),
        (lambda states: [state.tolist() for state in states], "float32"),
    ],
    ids=["array", "bf16 tensors", "float16", "lists"],
)
def test_states_may_be_arrays_tensors_or_lists(tmp_path: Path, make: Any, dtype: str) -> None:
    states, remaining, tokens = flat()
    save_dataset(tmp_path, make(states), remaining, tokens)
    found = loaded(tmp_path, "hidden_states")
    assert found["train"].dtype == dtype
    ids = np.concatenate([rows["token_id"] for rows in loaded(tmp_path, "token_metadata").values()])
    expected = ids // 100 + (ids % 100) / 16
    assert np.concatenate([found["train"], found["val"]])[:, 0].tolist() == expected.tolist()


def test_a_second_call_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    save_dataset(tmp_path / "out", *flat())
    save_dataset(tmp_path / "out", *flat((2,) * 4), train_val_split=0.5)
    assert len(loaded(tmp_path / "out", "remaining_tokens")["train"]) == 4
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(DatasetError, match=r"holds other files \(thesis.tex\)"):
        save_dataset(tmp_path / "out", *flat())
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


def without_end(lists: Any) -> Any:
    states, remaining, tokens = lists
    return states[:-1], remaining[:-1], tokens[:-1]


def shuffled(lists: Any) -> Any:
    states, remaining, tokens = lists
    return states, remaining[::-1], tokens


@pytest.mark.parametrize(
    ("lists", "options", "why"),
    [
        (([], [], []), {}, "0 states, 0 remaining counts"),
        ((flat()[0][:-1], *flat()[1:]), {}, "29 states, 30 remaining counts and 30 tokens"),
        (without_end(flat()), {}, "row 28 has 1 tokens to come, and the text does not go on"),
        (shuffled(flat()), {}, "and the text does not go on"),
        ((flat()[0], [-1] * 30, flat()[2]), {}, "row 0 has no known number"),
        (([np.ones(4)] * 29 + [np.ones(5)], *flat()[1:]), {}, r"row 29 has shape \(5,\), not \(4,\)"),
        (([np.ones((2, 2))] * 30, *flat()[1:]), {}, r"row 0 has shape \(2, 2\)"),
        ((*flat()[:2], ["word"] * 30), {}, "'word' has no token_id and token_text"),
        (flat(), {"train_val_split": 1.5}, "1.5 of the texts cannot train"),
        (flat(), {"train_val_split": "word:0.9"}, "rows cannot be split by 'word'"),
        (flat(), {"train_val_split": "text:most"}, "is no split"),
        (flat((30,)), {}, "the split leaves"),
        (flat(), {"additional_metadata": {"x": {1, 2}}}, "set is no JSON value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_saved_is_one_line_and_leaves_nothing(
    tmp_path: Path, lists: Any, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(LatentextError, match=why) as raised:
        save_dataset(tmp_path / "out", *lists, **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists() and not list(tmp_path.iterdir())


def test_argument_errors_are_value_errors(tmp_path: Path) -> None:
    assert issubclass(ArgumentError, ValueError)
    with pytest.raises(ValueError, match="give one of each a row"):
        save_dataset(tmp_path, [np.ones(2)], [0, 0], [])


def test_opening_what_was_saved_says_how_to_read_it(tmp_path: Path) -> None:
    tokens = [{"token_id": 5, "token_text": " a"}] * 6
    save_dataset(tmp_path / "saved", np.ones((6, 4)), [2, 1, 0] * 2, tokens, train_val_split=0.5)
    with pytest.raises(DatasetError, match="NumPy arrays, not a dataset") as found:
        latentext.open_dataset(tmp_path / "saved")
    command = str(found.value.remedy).removeprefix("read them with ")
    assert eval(command, {"numpy": np}).shape == (3, 4)
