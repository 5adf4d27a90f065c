"""From a dataset directory to a bank: the stored scores of several rewards, joined text by text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from latentext.dataset.reader import Dataset
from latentext.errors import SpecError
from latentext.studies.align.bank import Bank, Floats, bank_of_rows

_PLACES_PER_PROMPT = 1 << 32


def read_bank(
    dataset: Dataset, rewards: Sequence[str], *, requests: range | None = None, samples: int | None = None
) -> tuple[Bank, tuple[int, ...]]:
    """Read the bank of a dataset.

    Args:
        requests: only these prompts of the plan.
        samples: only the first samples of each; all that any prompt has when left out.
        rewards: names of rewards, or of folders under ``scores/`` where a reward was scored in several ways. A reward's
            first column is its score.

    Returns:
        The bank, its prompts in the order of the plan, under the keys of their requests; and the indices of the prompts
        that are left out because one of their samples lacks a score.

    Raises:
        SpecError: no reward is named, no text has all the scores, or one of them is not finite.
        DatasetError: there are no such scores, or a file is damaged.
    """
    if not rewards:
        raise SpecError(
            "a bank needs at least one reward", remedy=f"scored are: {', '.join(dataset.rewards) or 'none'}"
        )
    places, values = zip(*(_places_and_values(dataset, name, requests, samples) for name in rewards), strict=True)
    common = reduce(np.intersect1d, places)
    if not len(common):
        raise SpecError(f"no text has scores of {' and '.join(rewards)}", where=str(dataset.directory))
    scores = {
        name: column[np.searchsorted(place, common)]
        for name, place, column in zip(rewards, places, values, strict=True)
    }
    keys: dict[int, str] = {}
    for table in dataset.iter_records(["index", "key"]):  # A shard at a time: every sample repeats its prompt's key.
        keys.update(zip(table["index"].to_pylist(), table["key"].to_pylist(), strict=True))
    return bank_of_rows(common // _PLACES_PER_PROMPT, common % _PLACES_PER_PROMPT, scores, keys)


def _part(table: pa.Table, requests: range | None, samples: int | None) -> pa.Table:
    if requests is not None:
        inside = pc.and_(pc.greater_equal(table["index"], requests.start), pc.less(table["index"], requests.stop))
        table = table.filter(inside)
    return table if samples is None else table.filter(pc.less(table["sample"], samples))


def scored_places(
    dataset: Dataset, reward: str, *, requests: range | None = None, samples: int | None = None
) -> NDArray[np.int64]:
    """The texts that have a score by one reward, each as one sortable number; arguments as `read_bank`."""
    return _places_and_values(dataset, reward, requests, samples)[0]


def _places_and_values(
    dataset: Dataset, reward: str, requests: range | None, samples: int | None
) -> tuple[NDArray[np.int64], Floats]:
    """Where each score belongs, as one sortable number, and the scores; texts without a score are left out."""
    table = _part(dataset.scores(reward), requests, samples)
    scored = table.filter(pc.is_valid(table.column(2)))
    index, sample = scored["index"].to_numpy(), scored["sample"].to_numpy()
    return index.astype(np.int64) * _PLACES_PER_PROMPT + sample, scored.column(2).to_numpy()
