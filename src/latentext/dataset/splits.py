"""Splits: which texts are for training, validation and test, computed on reading and never stored.

What must not leak is the group: all samples of one prompt, all prompts with one word. So groups are divided, and every
text follows its group. A group's place is the rank of a hash of (seed, group) among all groups: the shares are exact
to one group, and neither the order of rows nor the number of texts in a group has any influence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latentext.errors import DatasetError
from latentext.spec import SplitSpec

if TYPE_CHECKING:
    import pyarrow as pa

    from latentext.dataset.reader import Dataset

SEQUENTIAL = "rows-sequential"
"""The cut of the original experiment, by name: the first rows train, the last validate. Groups may leak."""


OWN_GROUPS = ("prompt", "index", SEQUENTIAL)
"""What texts can be split by whatever their variables are."""


def split_records(dataset: Dataset, split: SplitSpec | None = None) -> dict[str, npt.NDArray[np.int64]]:
    """Row numbers of ``dataset.records()`` by split: ``train`` always, ``val`` and ``test`` where they have a share.

    `split.by` names the group that stays whole: ``prompt`` (the rendered prompt ids, with all samples), ``index`` (a
    request), ``template``, or any variable; or ``rows-sequential``.

    Raises:
        DatasetError: there is no such variable, or a split would be empty; the numbers are given.
    """
    split = split or dataset.spec.split
    if split.by == SEQUENTIAL:
        count = sum(table.num_rows for table in dataset.iter_records(["index"]))
        return sequential(count, split)
    return split_groups(record_groups(dataset, split.by), split)


def record_groups(dataset: Dataset, by: str) -> list[bytes]:
    """The group of every record, in the order of ``dataset.records()``: 16 bytes each, equal for equal groups."""
    column = {"prompt": "prompt_token_ids", "index": "index"}.get(by, "variables")
    return [_digest(value) for table in dataset.iter_records([column]) for value in _values(table, column, by)]


def split_groups(groups: Sequence[bytes], split: SplitSpec) -> dict[str, npt.NDArray[np.int64]]:
    """Divide rows, each with the name of its group: ``round(val * groups)`` whole groups validate, and so for test.

    Raises:
        DatasetError: a split that has a share would get no group.

    Example:
        >>> rows = split_groups([b"a", b"a", b"b", b"c"], SplitSpec(val=0.34))
        >>> {name: numbers.tolist() for name, numbers in rows.items()}
        {'train': [0, 1, 2], 'val': [3]}
    """
    ranked = sorted(set(groups), key=lambda group: hashlib.blake2b(b"%d:" % split.seed + group).digest())
    stops = _stops(len(ranked), split)
    rank = {group: number for number, group in enumerate(ranked)}
    ranks = np.fromiter((rank[group] for group in groups), np.int64, len(groups))
    return {name: np.flatnonzero((ranks >= start) & (ranks < stop)) for name, (start, stop) in stops.items()}


def sequential(rows: int, split: SplitSpec) -> dict[str, npt.NDArray[np.int64]]:
    """Cut rows in their order, as the original experiment does: the first ``int(share * rows)`` train.

    Example:
        >>> {name: len(numbers) for name, numbers in sequential(25, parse_split("rows-sequential:0.9")).items()}
        {'train': 22, 'val': 3}
    """
    train = int(rows * round(1 - split.val - split.test, 12))
    test = round(rows * split.test) if split.val > 0 else rows - train
    sizes = {"train": train, "val": rows - train - test, "test": test}
    _refuse_empty(sizes, split, f"{rows} rows")
    ends = np.cumsum(list(sizes.values()))
    cut = dict(zip(sizes, np.split(np.arange(rows, dtype=np.int64), ends[:-1]), strict=True))
    return {name: numbers for name, numbers in cut.items() if _has_share(name, split)}


def parse_split(text: str) -> SplitSpec:
    """Read a split as the command line and the seeds write it: ``by``, or ``by:share of training``.

    Raises:
        DatasetError: the share is not a number above 0 and at most 1.

    Example:
        >>> parse_split("word:0.8")
        SplitSpec(by='word', val=0.2, test=0.0, seed=0)
    """
    by, colon, share = text.rpartition(":")
    if not colon:
        return SplitSpec(by=text)
    try:
        return SplitSpec(by=by, val=round(1 - float(share), 12))
    except ValueError as error:
        raise DatasetError(f"{text!r} is no split", remedy="write it like prompt:0.9 or rows-sequential:0.9") from error


def _stops(count: int, split: SplitSpec) -> dict[str, tuple[int, int]]:
    """Ranks of each split: validation first, then test, then training, so that val does not depend on test."""
    val, test = round(split.val * count), round(split.test * count)
    groups = f"{count} group{'' if count == 1 else 's'} by {split.by}"
    _refuse_empty({"train": count - val - test, "val": val, "test": test}, split, groups)
    ranges = {"train": (val + test, count), "val": (0, val), "test": (val, val + test)}
    return {name: bounds for name, bounds in ranges.items() if _has_share(name, split)}


def _refuse_empty(sizes: dict[str, int], split: SplitSpec, what: str) -> None:
    empty = [name for name, size in sizes.items() if size <= 0 and _has_share(name, split)]
    if empty:
        raise DatasetError(
            f"the split leaves {' and '.join(empty)} empty: {what}, val {split.val}, test {split.test}",
            remedy="make more texts, choose other shares, or split by something finer",
        )


def _has_share(name: str, split: SplitSpec) -> bool:
    return {"train": True, "val": split.val > 0, "test": split.test > 0}[name]


def _values(table: pa.Table, column: str, by: str) -> Iterable[Hashable]:
    values = table[column].to_pylist()
    if column != "variables":
        return [tuple(value) if isinstance(value, list) else value for value in values]
    rows = [json.loads(text) for text in values]
    missing = next((row for row in rows if by not in row), None)
    if missing is not None:
        known = ", ".join(["prompt", "index", *missing])
        raise DatasetError(
            f"cannot split by {by!r}: a text has no such variable", remedy=f"it can be split by: {known}"
        )
    return [json.dumps(row[by], sort_keys=True) for row in rows]


def group_name(value: object) -> bytes:
    """The name that `record_groups` gives the group of a variable's value."""
    return _digest(json.dumps(value, sort_keys=True))


def _digest(value: Hashable) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8", "backslashreplace"), digest_size=16).digest()
