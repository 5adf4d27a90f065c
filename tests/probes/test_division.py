"""No group on two sides, held-out kinds of groups, and the refusal of sides without texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.probes.made import MadeText, write_dataset

from latentext.dataset.reader import Dataset
from latentext.errors import DatasetError
from latentext.probes.division import LEFT_OUT, TEST, TRAIN, VALIDATION, Division, divide


def counts_of(dataset: Dataset) -> np.ndarray:
    return np.array([json.loads(text)["count"] for text in dataset.records(["variables"])["variables"].to_pylist()])


def test_no_group_is_on_two_sides(repeating: Dataset) -> None:
    counts = counts_of(repeating)
    parts = divide(repeating, np.ones(60, bool), Division(by="count", validation=0.2, test=0.2))
    sides = [set(counts[parts == part]) for part in (TRAIN, VALIDATION, TEST)]
    assert all(sides) and sum(map(len, sides)) == len(set(counts))


def test_test_texts_have_counts_that_no_other_text_has(repeating: Dataset) -> None:
    counts = counts_of(repeating)
    parts = divide(repeating, np.ones(60, bool), Division(test_by="count"))
    unseen, seen = set(counts[parts == TEST]), set(counts[(parts == TRAIN) | (parts == VALIDATION)])
    assert unseen and not unseen & seen
    assert set(counts[parts == VALIDATION]) & set(counts[parts == TRAIN])  # The rest is divided by prompt as usual.


def test_texts_that_are_not_usable_are_on_no_side(repeating: Dataset) -> None:
    usable = np.arange(60) % 3 > 0
    parts = divide(repeating, usable, Division(by="sample"))
    assert (parts[~usable] == LEFT_OUT).all() and (parts[usable] != LEFT_OUT).all()


def test_a_side_without_texts_is_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "one", [MadeText(3, "cat", 5)])
    with pytest.raises(DatasetError, match="1 group by prompt"):
        divide(data, np.ones(1, bool), Division())


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.0, 0.2), (0.2, 0.0), (-0.1, 0.2), (0.2, 1.5)])
@pytest.mark.parametrize("test_by", [None, "count"])
def test_shares_that_leave_a_part_without_texts_are_refused(
    repeating: Dataset, shares: tuple[float, float], test_by: str | None
) -> None:
    division = Division(test_by=test_by, validation=shares[0], test=shares[1])
    with pytest.raises(DatasetError, match="give both above 0, adding up to below 1"):
        divide(repeating, np.ones(60, bool), division)


def test_an_unknown_variable_is_named_with_those_that_exist(repeating: Dataset) -> None:
    with pytest.raises(DatasetError, match="it can be split by: prompt, index, count, word"):
        divide(repeating, np.ones(60, bool), Division(by="colour"))
