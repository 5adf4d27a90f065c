"""Pictures show what the files hold: counts by hand, and other numbers when a file is another."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.dataset.made import generated_ids
from tests.report.conftest import Copy, longer, rewrite_records

from latentext.dataset.reader import Dataset, open_dataset
from latentext.report.components import principal_components, project
from latentext.report.lengths import length_by_count, remaining_by_split
from latentext.report.making import facts
from latentext.report.picture import Picture, Skipped
from latentext.report.state_rows import deepest_view, pieces, sample_rows, sites_by_depth
from latentext.report.states import norm_by_layer, state_against_remaining, state_histograms
from latentext.report.tokens import coloured_sequence, drawable, frequent_tokens

Maker = Callable[..., Dataset]


def drawn(picture: Picture | Skipped) -> Picture:
    assert isinstance(picture, Picture), picture
    assert picture.png.startswith(b"\x89PNG")
    return picture


def reason(picture: Picture | Skipped) -> str:
    assert isinstance(picture, Skipped), picture
    return picture.reason


def whole_lengths(count: int) -> list[int]:
    """Lengths of the texts that ended by themselves; every fifth was cut."""
    return [len(generated_ids(index, 0)) for index in range(count) if index % 5 != 4]


def test_the_mean_of_remaining_tokens_is_that_of_the_rows(make_dataset: Maker, with_spec: Copy) -> None:
    dataset = with_spec(make_dataset(), split={"by": "index", "val": 0.0})
    remaining = [r for length in whole_lengths(10) for r in range(length)]
    picture = drawn(remaining_by_split(dataset))
    assert picture.numbers == {"train, mean remaining": f"{np.mean(remaining):.2f} tokens"}
    assert "left out of 10: 2 cut at the limit" in picture.caption


def test_splits_stand_side_by_side(make_dataset: Maker, with_spec: Copy) -> None:
    dataset = with_spec(make_dataset(), split={"by": "index", "val": 0.2, "test": 0.2})
    assert [name.split(",")[0] for name in drawn(remaining_by_split(dataset)).numbers] == ["train", "val", "test"]


def test_one_text_cannot_be_divided_and_is_drawn_whole(make_dataset: Maker) -> None:
    picture = drawn(remaining_by_split(make_dataset(1)))
    assert "Shown as one: the split leaves" in picture.caption


def test_rows_sequential_is_said_to_divide_rows(make_dataset: Maker, with_spec: Copy) -> None:
    dataset = with_spec(make_dataset(), split={"by": "rows-sequential", "val": 0.2})
    assert "Shown as one: rows-sequential divides rows" in drawn(remaining_by_split(dataset)).caption


def test_other_records_give_other_numbers_everywhere(make_dataset: Maker) -> None:
    dataset = make_dataset(states=False)
    pictures = [remaining_by_split, length_by_count, frequent_tokens, coloured_sequence, facts]
    before = [picture(dataset) for picture in pictures]
    rewrite_records(dataset.directory, 1, longer)
    after = [picture(open_dataset(dataset.directory)) for picture in pictures]
    for one, other in zip(before[:-1], after[:-1], strict=True):
        assert drawn(one).numbers != drawn(other).numbers
        assert drawn(one).png != drawn(other).png
    assert before[-1] != after[-1]
    lengths = [len(generated_ids(i, 0)) + 3 * (4 <= i < 8) for i in range(10)]
    assert re.search(r"(\d+) generated", after[-1]["tokens"])[1] == str(sum(lengths))
    assert (
        drawn(after[1]).numbers["mean length"]
        == f"{np.mean([n for i, n in enumerate(lengths) if i % 5 != 4]):.2f} tokens"
    )


def test_length_by_count_takes_digits_for_numbers_and_says_where_there_are_none(
    make_dataset: Maker, with_spec: Copy
) -> None:
    dataset = make_dataset(states=False)
    drawn(length_by_count(dataset))
    with_check = with_spec(dataset, check={"repetition": {"word": "word", "count": "word"}})
    assert reason(length_by_count(with_check)) == "no prompt has a number in a variable 'word'"


def test_the_most_frequent_token_is_counted_over_all_shards(make_dataset: Maker) -> None:
    ids = [token_id for index in range(10) for token_id in generated_ids(index, 0)]
    numbers = drawn(frequent_tokens(make_dataset(states=False))).numbers
    assert numbers["#2 (id 2)"] == str(ids.count(2)) == "10"
    assert max(map(int, numbers.values())) == max(map(ids.count, ids))


def test_any_token_can_be_drawn(make_dataset: Maker, recwarn: pytest.WarningsRecorder) -> None:
    texts = ["$x^2$", "$", "\\frac{", "<script>", "猫", "\x1b[31m", "\n", "\ud83d", "", "a\u202eb", "x" * 2000]
    dataset = make_dataset(states=False)
    frequent = drawn(frequent_tokens(dataset, lambda token_id: texts[token_id % len(texts)]))
    assert {name.split(" (id")[0] for name in frequent.numbers} <= {drawable(text) for text in texts}
    drawn(coloured_sequence(dataset, lambda token_id: texts[token_id % len(texts)]))
    assert not [str(warning.message) for warning in recwarn]


def test_what_cannot_be_seen_is_written_out() -> None:
    assert drawable("x" * 41) == "x" * 39 + "…"
    assert drawable("a\u202e\u200b\x1b \t") == "a\\u202e\\u200b\\x1b·\\t"


def test_where_every_text_was_cut_there_is_no_remaining_length(make_dataset: Maker) -> None:
    cut = make_dataset(failed={index: "too long" for index in range(10) if index % 5 != 4})
    assert reason(remaining_by_split(cut)) == "no text has a known length: 2 cut at the limit"
    assert "no text has a known length: 2 cut at the limit" in reason(coloured_sequence(cut))
    assert "2 cut at the limit" in reason(state_against_remaining(cut))
    assert "2 cut at the limit" in reason(principal_components(cut))
    drawn(state_histograms(cut))
    drawn(length_by_count(cut))


def test_state_numbers_are_those_of_all_states(make_dataset: Maker) -> None:
    dataset = make_dataset(dtype=torch.float32)
    states = np.asarray(dataset.states("final_norm")[:], np.float64)
    norms = np.linalg.norm(states, axis=1)
    spread = f"{norms.mean():.5g} ± {norms.std():.5g}"
    assert drawn(state_histograms(dataset)).numbers["norm, mean ± std"] == spread
    by_layer = drawn(norm_by_layer(dataset)).numbers
    assert by_layer.keys() == {"layer 0, embed", "layer 4, final_norm"} and by_layer["layer 4, final_norm"] == spread
    drawn(state_against_remaining(dataset))


def test_without_states_each_picture_of_states_says_so(make_dataset: Maker) -> None:
    dataset = make_dataset(states=False)
    for picture in (state_histograms, state_against_remaining, principal_components):
        assert reason(picture(dataset)) == "no states were captured"
    assert "takes two sites" in reason(norm_by_layer(dataset))


def test_pooled_states_are_drawn_as_one_row_per_text(make_dataset: Maker) -> None:
    dataset = make_dataset(10, pools=("mean", "max"))
    picture = drawn(state_histograms(dataset))
    assert picture.caption == "All states of layer 4, final_norm (mean)."
    norms = np.linalg.norm(np.asarray(dataset.states("final_norm", pool="mean")[:], np.float64), axis=1)
    assert picture.numbers["norm, mean ± std"] == f"{norms.mean():.5g} ± {norms.std():.5g}"
    assert len(drawn(norm_by_layer(dataset)).numbers) == 2


def test_pooled_states_of_a_whole_text_are_not_set_against_a_place_in_it(make_dataset: Maker) -> None:
    for picture in (state_against_remaining, principal_components):
        assert "pooled over the text (max)" in reason(picture(make_dataset(10, pools=("max",))))
        drawn(picture(make_dataset(20, pools=("mean", "first"))))


def test_sites_come_by_depth(make_dataset: Maker) -> None:
    assert sites_by_depth(make_dataset(4)) == ["embed", "final_norm"]


def test_pieces_are_all_rows_and_a_sample_is_some_of_them(make_dataset: Maker) -> None:
    dataset = make_dataset()
    view = deepest_view(dataset)
    assert not isinstance(view, str)
    whole = list(pieces(dataset, view))
    states = np.concatenate([piece.states for piece in whole])
    remaining = np.concatenate([piece.remaining for piece in whole])
    np.testing.assert_array_equal(states, view[:])
    cut = view.rows["index"] % 5 == 4
    np.testing.assert_array_equal(np.isnan(remaining), cut)
    np.testing.assert_array_equal(remaining[~cut], view.rows["remaining"][~cut])
    sample, again, other = (sample_rows(dataset, view, 20, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(sample.states, again.states)
    assert not np.array_equal(sample.states, other.states)
    for state, left in zip(sample.states, sample.remaining, strict=True):
        alike = remaining[(states == state).all(axis=1)]
        assert (np.isnan(alike) if np.isnan(left) else alike == left).any()


@pytest.mark.parametrize("shape", [(40, 5), (5, 40)])
def test_components_are_those_of_a_singular_value_decomposition(shape: tuple[int, int]) -> None:
    states = np.random.default_rng(0).normal(size=shape).astype(np.float32) * np.arange(1, shape[1] + 1)
    places, shares = project(states)
    left, values, _ = np.linalg.svd(states - states.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(places), np.abs(left[:, :2] * values[:2]), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(shares, np.square(values[:2]) / np.square(values).sum(), rtol=1e-4)
