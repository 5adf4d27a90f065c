"""Rows of hidden states by split: what texts a row belongs to decides where it goes, shard by shard.

Splits are made of texts (`latentext.dataset.splits`), exports and probes work on rows. A text that was cut at the limit
has no known remaining length, so such texts are left out and counted unless they are asked for. Memory holds a few
bytes a text and the row columns of one shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from latentext.dataset.checks import kept_records
from latentext.dataset.reader import Dataset
from latentext.dataset.splits import SEQUENTIAL, sequential
from latentext.dataset.states_view import StatesView
from latentext.errors import DatasetError
from latentext.finish_reasons import are_whole
from latentext.spec import Keep, SplitSpec

LEFT_OUT = -1
Truncated = Literal["drop", "keep"]


@dataclass(frozen=True)
class SplitShard:
    """The rows of one shard: their states site by site, their columns, and for each row its record and split.

    `split` holds the number of the split's name in `SplitRows.counts`, or `LEFT_OUT`.
    """

    views: Sequence[StatesView]
    rows: npt.NDArray[Any]
    record: npt.NDArray[np.int64]
    split: npt.NDArray[np.int8]


@dataclass(frozen=True)
class SplitRows:
    """Rows of one or several sites, divided by text.

    Attributes:
        views: one a site, all with the same rows.
        split: how texts are divided.
        split_of_record: for each record the number of its split, or `LEFT_OUT`.
        censored: for each record whether the text was cut at the limit.
        kept: for each record whether the run's check lets it through.
        counts: rows of each split, by name.
        texts: texts that have rows in a split.
    """

    dataset: Dataset
    views: Sequence[StatesView]
    split: SplitSpec
    split_of_record: npt.NDArray[np.int8]
    censored: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.bool_]
    counts: Mapping[str, int]
    texts: int

    def shards(self) -> Iterator[SplitShard]:
        """Shards in order, each with the split of its rows.

        Raises:
            DatasetError: the sites have not the same rows.
        """
        ends = np.cumsum(list(self.counts.values()))
        before = 0
        for views in shards_side_by_side(self.views):
            rows = views[0].rows
            record = self.dataset.record_numbers(views[0])
            split = self.split_of_record[record]
            if self.split.by == SEQUENTIAL:
                kept = np.flatnonzero(split != LEFT_OUT)
                split[kept] = np.searchsorted(ends, np.arange(before, before + len(kept)), side="right")
                before += len(kept)
            yield SplitShard(views, rows, record, split)


def shards_side_by_side(views: Sequence[StatesView]) -> Iterator[tuple[StatesView, ...]]:
    """The shards of several sites, those of the same requests together.

    Raises:
        DatasetError: the sites have not the same rows: they were captured of other texts, or one is not finished.
    """
    for shards in zip_longest(*(view.shards() for view in views)):
        for view, shard in zip(views[1:], shards[1:], strict=True):
            if shards[0] is None or shard is None or not np.array_equal(shards[0].rows, shard.rows):
                what = f"{views[0].label} and {view.label} were captured of different texts or positions"
                raise DatasetError(what, remedy="take them one by one, or finish the capture of both")
        yield shards


def split_rows(
    dataset: Dataset,
    views: Sequence[StatesView],
    split: SplitSpec | None = None,
    truncated: Truncated = "drop",
    keep: Keep | None = None,
) -> SplitRows:
    """Divide the rows of `views` as the run's split (or another) says; ``rows-sequential`` cuts rows, not texts.

    Args:
        truncated: whether texts that were cut at the limit are left out.
        keep: which texts the run's check must have passed; what the spec says where left out.

    Raises:
        DatasetError: a split would be empty; the numbers are given.
    """
    split = split or dataset.spec.split
    reasons = dataset.records(["finish_reason"])["finish_reason"].to_numpy()
    censored = ~are_whole(reasons)
    # A split by rows is cut while rows are read; until then all records are in its first part.
    by_rows = split.by == SEQUENTIAL
    records_of = {"train": np.arange(len(censored))} if by_rows else dataset.split(split)
    split_of_record = np.full(len(censored), LEFT_OUT, np.int8)
    for number, records in enumerate(records_of.values()):
        split_of_record[records] = number
    if truncated == "drop":
        split_of_record[censored] = LEFT_OUT
    kept = kept_records(dataset, keep)
    split_of_record[~kept] = LEFT_OUT
    rows, texts = _count(dataset, views[0], split_of_record, len(records_of))
    if by_rows and rows[0]:
        counts = {name: len(numbers) for name, numbers in sequential(rows[0], split).items()}
    else:
        counts = dict(zip(records_of, rows, strict=True))
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        left_out = int(censored.sum()) if truncated == "drop" else 0
        what = f"no rows for {' and '.join(empty)}: {len(censored)} texts, {left_out} of them left out because cut"
        what += "" if kept.all() else f", {int((~kept).sum())} by the check"
        raise DatasetError(what, remedy="allow more new tokens, keep texts that were cut, or choose another split")
    return SplitRows(dataset, views, split, split_of_record, censored, kept, counts, texts)


def _count(
    dataset: Dataset, view: StatesView, split_of_record: npt.NDArray[np.int8], splits: int
) -> tuple[list[int], int]:
    """Rows of each split, and how many texts they come from."""
    rows, texts = np.zeros(splits, np.int64), 0
    for shard in view.shards():
        record = dataset.record_numbers(shard)
        split = split_of_record[record]
        rows += np.bincount(split[split != LEFT_OUT], minlength=splits)
        texts += len(np.unique(record[split != LEFT_OUT]))
    return rows.tolist(), texts
