"""A dataset at a prompt of Python or in a notebook: its length, its texts, and what it says of itself."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from tests.dataset.conftest import Maker
from torch.utils.data import DataLoader

from latentext.dataset.reader import Dataset


def test_the_length_is_the_number_of_texts_not_of_requests(make_dataset: Maker) -> None:
    data = make_dataset(7, shard_size=3, samples=(range(2), range(2, 3)), failed={4: "no answer"}, states=False)
    assert len(data) == data.records().num_rows == 18


def test_iteration_gives_every_record_in_order(make_dataset: Maker) -> None:
    data = make_dataset(5, shard_size=2, samples=(range(1), range(1, 3)), states=False)
    assert list(data) == data.records().to_pylist()


def test_texts_are_the_texts_of_one_split_or_of_all(make_dataset: Maker) -> None:
    data = make_dataset(10, states=False)
    assert data.texts() == data.records()["text"].to_pylist()
    by_split = [data.texts(name) for name in data.split()]
    assert sum(map(len, by_split)) == 10
    assert sorted(text for texts in by_split for text in texts) == sorted(data.texts())


def test_the_line_of_a_dataset_says_how_many_texts_of_which_model_with_which_states(make_dataset: Maker) -> None:
    data = make_dataset(5, pools=("first", "mean"))
    line = repr(data)
    assert line.startswith(f"Dataset({str(data.directory)!r}: 5 texts, model tiny, states ")
    assert "first, mean" in line
    assert all(site in line for site in next(iter(data.captures.values())).sites)


def test_many_sites_are_a_number_and_the_two_ends(make_dataset: Maker) -> None:
    data = make_dataset(3)
    capture = next(iter(data.captures.values()))
    many = capture.model_copy(
        update={"sites": tuple(f"resid_post.{k}" for k in range(24)), "huggingface_indices": tuple(range(1, 25))}
    )
    object.__setattr__(data, "captures", {"deep": many})
    assert "24 sites from layer 1, resid_post.0 to layer 24, resid_post.23" in repr(data)


def test_nothing_of_a_text_is_markup_in_a_notebook(make_dataset: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_dataset(4, states=False)
    hostile = [{"prompt": "<script>alert(1)</script>", "text": "a & b\n<b>c</b> " + "x" * 500}]
    monkeypatch.setattr("latentext.dataset.display.first_texts", lambda dataset: hostile)
    page = data._repr_html_()
    assert "<script>" not in page and "<b>" not in page
    assert "&lt;script&gt;" in page and "a &amp; b &lt;b&gt;c&lt;/b&gt;" in page
    assert "x" * 200 not in page


def test_the_first_texts_are_in_the_table(make_dataset: Maker) -> None:
    data = make_dataset(6, shard_size=2, states=False)
    page = data._repr_html_()
    shown = [text in page for text in data.texts()]
    assert shown[:2] == [True, True]


def states(data: Dataset) -> np.ndarray:
    return data.states(next(iter(data.captures.values())).sites[0])[:]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_view_becomes_an_array_in_one_read(
    make_dataset: Maker, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    data = make_dataset(6, dtype=dtype)
    view = data.states(next(iter(data.captures.values())).sites[0])
    expected = view[:]
    reads = 0
    read = type(view)._read

    def counted(self: object, *arguments: object, **options: object) -> object:
        nonlocal reads
        reads += 1
        return read(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(view), "_read", counted)
    made = np.asarray(view)
    assert reads == 1
    assert made.dtype == view.dtype and np.array_equal(made, expected)
    assert np.asarray(view, np.float64).dtype == np.float64
    copied = np.array(view, copy=True)
    copied[0] += 1
    assert np.array_equal(view[:], expected), "a copy is a copy"


def test_an_array_of_another_type_without_a_copy_is_refused(make_dataset: Maker) -> None:
    view = make_dataset(3).states(0)
    with pytest.raises(ValueError, match="only by a copy"):
        np.array(view, dtype=np.float64, copy=False)


def test_sklearn_and_a_torch_loader_take_a_view_as_it_is(make_dataset: Maker) -> None:
    from sklearn.linear_model import Ridge

    data = make_dataset(8, dtype=torch.float32)
    view = data.states(next(iter(data.captures.values())).sites[0])
    remaining = view.rows["remaining"]
    fitted = Ridge().fit(view, remaining)
    assert np.allclose(fitted.predict(view), Ridge().fit(view[:], remaining).predict(view[:]))
    batches = list(DataLoader(view, batch_size=5))  # type: ignore[arg-type]
    assert np.array_equal(torch.cat(batches).numpy(), view[:])


def test_a_dataset_survives_a_process_boundary(make_dataset: Maker) -> None:
    data = make_dataset(3)
    assert pickle.loads(pickle.dumps(data)).texts() == data.texts()
