"""Targets: the right number in every row, and none where the end of the text is not known."""

from __future__ import annotations

import numpy as np
import pytest
from tests.dataset.conftest import Maker
from tests.dataset.made import generated_ids, prompt_ids

from latentext.dataset.targets import (
    bin_names,
    ends_within,
    log_remaining_tokens,
    relative_progress,
    remaining_bin,
    remaining_tokens,
    text_lengths,
    token_rows,
    total_tokens,
)
from latentext.errors import ArgumentError


def test_remaining_is_what_the_rows_say_and_unknown_in_cut_texts(make_dataset: Maker) -> None:
    data = make_dataset(12, samples=(range(2), range(2, 3)))
    view = data.states("final_norm")
    rows = token_rows(data, view)
    remaining = remaining_tokens(rows)
    cut = view.rows["index"] % 5 == 4  # As the fixture ends its texts.
    assert cut.any() and not cut.all()
    assert np.isnan(remaining[cut]).all()
    assert remaining[~cut].tolist() == view.rows["remaining"][~cut].tolist()
    assert (rows.whole == ~cut).all()


def test_every_target_of_a_cut_text_is_unknown(make_dataset: Maker) -> None:
    data = make_dataset()
    rows = token_rows(data, data.states("embed"))
    targets = (
        remaining_tokens,
        log_remaining_tokens,
        relative_progress,
        total_tokens,
        remaining_bin,
        lambda r: ends_within(r, 3),
    )
    for target in targets:
        assert np.isnan(target(rows)[~rows.whole]).all()
    for target in targets[:3]:
        assert np.isfinite(target(rows)[rows.whole]).all()


def test_targets_follow_from_the_token_ids(make_dataset: Maker) -> None:
    data = make_dataset()
    rows = token_rows(data, data.states("embed"))
    for text in (0, 3, 7):
        here = rows.record == text
        length = len(generated_ids(text, 0))
        steps = np.arange(length)
        assert rows.step[here].tolist() == steps.tolist()
        assert (rows.prompt_tokens[here] == len(prompt_ids(text))).all()
        assert relative_progress(rows)[here].tolist() == (steps / length).tolist()
        assert np.allclose(log_remaining_tokens(rows)[here], np.log(length - steps))
        assert total_tokens(rows)[here][0] == length and np.isnan(total_tokens(rows)[here][1:]).all()


def test_rows_of_shards_are_those_of_the_whole(make_dataset: Maker) -> None:
    data = make_dataset(11, samples=(range(2),))
    view, lengths = data.states("final_norm"), text_lengths(data)
    parts = [token_rows(data, shard, lengths) for shard in view.shards()]
    whole = token_rows(data, view)
    for name in ("record", "step", "total_tokens", "whole"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


def test_pooled_rows_stand_at_the_end_of_their_text(make_dataset: Maker) -> None:
    data = make_dataset(pools=("last", "mean"))
    rows = token_rows(data, data.states("embed", pool="mean"))
    assert (rows.step == rows.total_tokens - 1).all()
    assert set(remaining_tokens(rows)[rows.whole]) == {0.0}


@pytest.mark.parametrize("edges", [(1,), (1, 2, 5, 10), (3, 4, 100)])
def test_every_count_is_in_the_bin_that_its_name_says(make_dataset: Maker, edges: tuple[int, ...]) -> None:
    data = make_dataset()
    rows = token_rows(data, data.states("embed"))
    names = bin_names(edges)
    assert len(names) == len(edges) + 1
    for remaining, number in zip(remaining_tokens(rows), remaining_bin(rows, edges), strict=True):
        if np.isfinite(remaining):
            first, _, last = names[int(number)].rstrip("+").partition("-")
            upper = np.inf if names[int(number)].endswith("+") else int(last or first)
            assert int(first) <= remaining <= upper


def test_ends_within_counts_from_the_end(make_dataset: Maker) -> None:
    data = make_dataset()
    rows = token_rows(data, data.states("embed"))
    for tokens in (0, 1, 3):
        within = ends_within(rows, tokens)
        assert np.nansum(within) == sum(min(tokens + 1, n) for n, w in _texts(data) if w)


def _texts(data: object) -> list[tuple[int, bool]]:
    lengths = text_lengths(data)  # type: ignore[arg-type]
    return list(zip(lengths.total_tokens.tolist(), lengths.whole.tolist(), strict=True))


@pytest.mark.parametrize("edges", [(), (0, 1), (2, 2), (5, 1)])
def test_edges_that_do_not_ascend_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="are no bin edges"):
        bin_names(edges)


def test_a_dataset_without_texts_has_no_rows(make_dataset: Maker) -> None:
    lengths = text_lengths(make_dataset(0))
    assert len(lengths.total_tokens) == len(lengths.whole) == 0
