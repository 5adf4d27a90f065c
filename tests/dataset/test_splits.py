"""Splits are exact in their numbers, blind to order, and never divide a group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from latentext.dataset.reader import Dataset
from latentext.dataset.splits import parse_split, record_groups, sequential, split_groups, split_records
from latentext.errors import DatasetError
from latentext.spec import SplitSpec

Maker = Callable[..., Dataset]
groups = st.lists(st.integers(0, 60).map(lambda number: b"group %d" % number), min_size=1, max_size=200)
shares = st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)).filter(lambda pair: sum(pair) < 1)


@settings(max_examples=300, deadline=None)
@given(rows=groups, share=shares, seed=st.integers(-(2**40), 2**40), random=st.randoms())
def test_groups_stay_whole_in_exact_numbers_whatever_the_order(
    rows: list[bytes], share: tuple[float, float], seed: int, random: object
) -> None:
    split = SplitSpec(by="prompt", val=share[0], test=share[1], seed=seed)
    count = len(set(rows))
    sizes = {"val": round(share[0] * count), "test": round(share[1] * count)}
    sizes["train"] = count - sum(sizes.values())
    has_share = {"train": True, "val": share[0] > 0, "test": share[1] > 0}
    if any(has_share[name] and sizes[name] <= 0 for name in sizes):
        with pytest.raises(DatasetError, match=rf"empty: {count} groups? by prompt"):
            split_groups(rows, split)
        return
    parts = split_groups(rows, split)
    assert set(parts) == {name for name in sizes if has_share[name]}
    in_part = {name: {rows[row] for row in numbers} for name, numbers in parts.items()}
    assert {name: len(found) for name, found in in_part.items()} == {name: sizes[name] for name in parts}
    assert sorted(row for numbers in parts.values() for row in numbers) == list(range(len(rows)))

    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = split_groups([rows[row] for row in order], split)
    assert {name: {rows[order[row]] for row in numbers} for name, numbers in shuffled.items()} == in_part


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 10_000), share=shares)
@example(count=9, share=(0.0, 0.5))
def test_a_sequential_cut_keeps_the_order_and_all_rows(count: int, share: tuple[float, float]) -> None:
    split = SplitSpec(by="rows-sequential", val=share[0], test=share[1])
    try:
        parts = sequential(count, split)
    except DatasetError:
        assume(False)
    assert np.concatenate(list(parts.values())).tolist() == list(range(count))
    assert len(parts["train"]) == int(count * round(1 - sum(share), 12))


def test_the_seeds_cut_is_the_first_nine_tenths_rounded_down() -> None:
    split = parse_split("rows-sequential:0.9")
    for count in range(10, 2000, 7):
        assert len(sequential(count, split)["train"]) == int(count * 0.9)


def test_another_seed_gives_another_split() -> None:
    rows = [b"%d" % number for number in range(100)]
    first, second = (split_groups(rows, SplitSpec(seed=seed))["val"].tolist() for seed in (0, 1))
    assert first != second
    assert len(first) == len(second) == 10


def test_the_assignment_never_changes() -> None:
    # Golden: published splits would move if the hash or the ranking ever did.
    rows = [b"%d" % number for number in range(20)]
    parts = split_groups(rows, SplitSpec(val=0.2, test=0.1, seed=7))
    assert {name: numbers.tolist() for name, numbers in parts.items() if name != "train"} == {
        "val": [0, 2, 9, 15],
        "test": [3, 14],
    }


def test_validation_does_not_depend_on_the_share_of_test() -> None:
    rows = [b"%d" % number for number in range(50)]
    without, beside = (split_groups(rows, SplitSpec(val=0.2, test=test))["val"].tolist() for test in (0.0, 0.3))
    assert without == beside


@pytest.mark.parametrize("by", ["prompt", "index", "word", "count"])
def test_samples_and_equal_values_stay_together(make_dataset: Maker, by: str) -> None:
    data = make_dataset(12, samples=(range(2), range(2, 3)), states=False)
    parts = split_records(data, SplitSpec(by=by, val=0.34))
    frame = data.to_pandas()
    column = {"prompt": "prompt_token_ids", "index": "index"}.get(by, by)
    values = frame[column].map(str)
    seen = {name: set(values.iloc[rows]) for name, rows in parts.items()}
    assert not seen["train"] & seen["val"]
    assert len(seen["val"]) == round(0.34 * values.nunique())
    assert len(record_groups(data, by)) == 36


def test_the_runs_own_split_is_used_when_none_is_given(make_dataset: Maker) -> None:
    data = make_dataset(12, states=False)
    own, same = split_records(data), split_records(data, SplitSpec(by="prompt", val=0.1))
    assert {name: rows.tolist() for name, rows in own.items()} == {name: rows.tolist() for name, rows in same.items()}


def test_a_variable_that_is_not_there_is_refused_with_those_that_are(make_dataset: Maker) -> None:
    with pytest.raises(DatasetError, match=r"split by 'wrod'.*can be split by: prompt, index, word, count"):
        split_records(make_dataset(4, states=False), SplitSpec(by="wrod"))


def test_a_split_that_leaves_a_side_empty_is_refused_with_the_numbers(make_dataset: Maker) -> None:
    with pytest.raises(DatasetError, match=r"leaves val empty: 3 groups by word, val 0\.1, test 0\.0; make more texts"):
        split_records(make_dataset(6, states=False), SplitSpec(by="word", val=0.1))
    with pytest.raises(DatasetError, match=r"leaves train empty: 1 group "):
        split_groups([b"a", b"a"], SplitSpec(val=0.6))


def test_splits_are_written_as_on_the_command_line() -> None:
    assert parse_split("word") == SplitSpec(by="word")
    assert parse_split("rows-sequential:0.9") == SplitSpec(by="rows-sequential", val=0.1)
    for bad in ("word:2", "word:0", "word:most"):
        with pytest.raises(DatasetError, match=r"is no split; write it like prompt:0\.9"):
            parse_split(bad)
