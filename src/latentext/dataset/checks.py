"""The check of a spec as its scores hold it: which folders they are, and which texts are kept by it.

A check is found by what decides it, never by its name alone: when a spec's check changes, the texts are judged again
into another folder, and the earlier verdicts no longer count.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latentext.dataset.stages import ScoresStage, declared_stages, read_stage
from latentext.errors import DatasetError
from latentext.spec import CheckSpec, Keep, LengthSpec, Spec

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset

REPETITION, LENGTH = "repetition", "length"
_VERSION = 1
"""Of the definitions in `latentext.rewards.repetition`: raised when one of them changes."""

LENGTH_VERSION = 2
"""The same of `latentext.rewards.text_length`. In version 1, of 0.1.0, `cut` said whether a text was cut back to its
sentences, and was 0 for all others that were cut at the limit; what is accepted is the same."""


def check_settings(check: CheckSpec) -> dict[str, Any]:
    """What decides a check's verdicts, as JSON values; what is kept by them is not part of it."""
    return {"version": _VERSION, "check": REPETITION, **check.repetition.model_dump()}


def check_stages(root: Path, spec: Spec) -> Iterator[str]:
    """The folders that hold the verdicts of the spec's check; without one those of its limits of length."""
    if spec.check is not None:
        wanted = [(REPETITION, check_settings(spec.check))]
    elif spec.length is not None:
        wanted = [(LENGTH, length_settings(spec.length, version)) for version in (1, LENGTH_VERSION)]
    else:
        return
    for stage in declared_stages(root, "scores"):
        declared = read_stage(root, stage, ScoresStage)
        if (declared.reward, declared.settings) in wanted:
            yield stage


def length_settings(length: LengthSpec, version: int = LENGTH_VERSION) -> dict[str, Any]:
    """What decides the numbers of `latentext.rewards.text_length`, as JSON values."""
    return {"version": version, "policy": length.policy, "min": length.min, "max": length.max}


def verdicts(dataset: Dataset) -> dict[str, npt.NDArray[np.float64]]:
    """Columns of the spec's check, one entry a record in the order of ``dataset.records()``; NaN where not judged.

    Raises:
        DatasetError: the spec has no check, or no text was judged yet.
    """
    stages = list(check_stages(dataset.directory, dataset.spec))
    if not stages:
        raise DatasetError(
            "its texts are not checked", where=str(dataset.directory), remedy="give the spec a check and run it"
        )
    folder = stages[0].split("/")[1]
    name = next(name for name, folders in dataset.score_sets.items() if folder in folders)
    table, records = dataset.scores(name), dataset.records(["index", "sample"])
    row_of = {place: row for row, place in enumerate(_places(table))}
    rows = np.array([row_of.get(place, -1) for place in _places(records)], np.int64)
    found = {}
    for column in dataset.rewards[folder].columns:
        values = table[column].to_numpy(zero_copy_only=False).astype(np.float64)
        found[column] = np.where(rows >= 0, np.append(values, np.nan)[rows], np.nan)
    return found


def kept_records(dataset: Dataset, keep: Keep | None = None) -> npt.NDArray[np.bool_]:
    """For each record whether it is kept: all, those that are accepted, or those that are exact.

    Args:
        keep: what to keep; where left out, what the spec says.
    """
    keep = keep or (dataset.spec.check.keep if dataset.spec.check is not None else "all")
    if keep == "all":
        return np.ones(dataset.records(["index"]).num_rows, bool)
    kept: npt.NDArray[np.bool_] = verdicts(dataset)[keep] == 1
    return kept


def _places(table: Any) -> list[tuple[int, int]]:
    return list(zip(table["index"].to_pylist(), table["sample"].to_pylist(), strict=True))
