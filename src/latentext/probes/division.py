"""Which texts a probe is fitted on, which choose its settings, and which it is judged by.

A probe that has seen a prompt at step 3 knows it at step 4, so whole groups of texts are divided: by prompt unless
something coarser is asked for. With `test_by`, the test texts are those of held-out groups of another kind (counts
never seen, words never seen), and the rest is divided as usual: this is where a probe of length and a probe of
position come apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentext.dataset.reader import Dataset
from latentext.dataset.splits import record_groups, split_groups
from latentext.errors import DatasetError
from latentext.spec import SplitSpec

LEFT_OUT, TRAIN, VALIDATION, TEST = -1, 0, 1, 2
PART_NAMES = ("train", "validation", "test")

_GROUPS = {"sample": "index", "wording": "template"}
"""Names people use for groups, and what `latentext.dataset.splits` calls them."""


@dataclass(frozen=True)
class Division:
    """How texts are divided.

    Attributes:
        by: the group that stays whole: prompt, sample (a request), wording, or a variable such as word or count. Where
            the test is on unseen groups, settings are best chosen on unseen groups too, so that a baseline is not
            judged by a penalty that suited seen ones.
        test_by: the group whose held-out members are the test texts; None: as `by`.
        validation, test: shares of the groups.
    """

    by: str = "prompt"
    test_by: str | None = None
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0


def divide(dataset: Dataset, usable: npt.NDArray[np.bool_], division: Division) -> npt.NDArray[np.int8]:
    """The part of every record: `TRAIN`, `VALIDATION`, `TEST`, or `LEFT_OUT` where it is not `usable`.

    Raises:
        DatasetError: a share is none, there is no such variable, or a part would be empty; the numbers are given.
    """
    _check_shares(division)
    parts = np.full(len(usable), LEFT_OUT, np.int8)
    numbers = np.flatnonzero(usable)
    if division.test_by is None:
        split = _split(dataset, numbers, division.by, division, division.validation, division.test)
        parts[numbers[split["train"]]] = TRAIN
        parts[numbers[split["val"]]] = VALIDATION
        parts[numbers[split["test"]]] = TEST
        return parts
    held_out = _split(dataset, numbers, division.test_by, division, 0.0, division.test)
    parts[numbers[held_out["test"]]] = TEST
    rest = numbers[held_out["train"]]
    split = _split(dataset, rest, division.by, division, division.validation, 0.0)
    parts[rest[split["train"]]] = TRAIN
    parts[rest[split["val"]]] = VALIDATION
    return parts


def _split(
    dataset: Dataset, numbers: npt.NDArray[np.int64], by: str, division: Division, val: float, test: float
) -> dict[str, npt.NDArray[np.int64]]:
    groups = record_groups(dataset, _GROUPS.get(by, by))
    wanted = SplitSpec(by=by, val=val, test=test, seed=division.seed)
    return split_groups([groups[number] for number in numbers], wanted)


def _check_shares(division: Division) -> None:
    """A probe needs all three parts: one to fit, one to choose by, one to be judged by."""
    shares = {"validation": division.validation, "test": division.test}
    what = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    if min(shares.values()) <= 0.0 or sum(shares.values()) >= 1.0:
        raise DatasetError(
            f"shares of {what} leave a part without texts", remedy="give both above 0, adding up to below 1"
        )
