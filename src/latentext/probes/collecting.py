"""From a dataset to the rows of a question: which texts count, to which part they belong, and their target.

Only generated tokens of texts that the model ended itself take part: a text that was cut has no known length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from latentext.dataset.checks import kept_records
from latentext.dataset.reader import Dataset
from latentext.dataset.states_view import StatesView
from latentext.dataset.targets import (
    Target,
    TextLengths,
    bin_names,
    log_remaining_tokens,
    relative_progress,
    remaining_bin,
    remaining_tokens,
    text_lengths,
    token_rows,
    total_tokens,
)
from latentext.errors import DatasetError, SpecError
from latentext.probes.division import LEFT_OUT, PART_NAMES, TRAIN, Division, divide
from latentext.probes.fitting import Kind
from latentext.probes.posing import Question
from latentext.probes.rows import DatasetStates, Numbers, ProbeRows
from latentext.spec import Keep

TARGETS: Mapping[str, Target] = {
    "remaining": remaining_tokens,
    "log_remaining": log_remaining_tokens,
    "progress": relative_progress,
    "total": total_tokens,
    "bins": remaining_bin,
}
"""What can be asked, by name; `latentext.dataset.targets` defines them."""

_ENDING = {"progress": 1, "total": 0}
"""How a target relates to the nearness of the end (see `Question`); all others fall towards it."""

COUNT = "count"
"""The variable that holds how many repetitions, items or steps a prompt asks for."""


def make_question(target: str, kind: Kind) -> Question:
    """The question of a target's name.

    Raises:
        SpecError: there is no such target, or a ridge is asked for bins.
    """
    if target not in TARGETS:
        raise SpecError(f"no target {target!r}", where="target", remedy=f"targets are: {', '.join(TARGETS)}")
    if target == "bins" and kind == "ridge":
        raise SpecError("a ridge predicts numbers, not bins", where="kind", remedy="use linear or mlp")
    return Question(target, kind, tuple(bin_names()) if target == "bins" else (), _ENDING.get(target, -1))


def captured_sites(dataset: Dataset) -> list[str]:
    """Sites with a row for every generated token, by depth.

    Raises:
        DatasetError: there is none.
    """
    depth: dict[str, float] = {}
    for capture in dataset.captures.values():
        if capture.positions in ("generated", "all") and not capture.pooled:
            # The last block before the norm has no index; it stands just before the norm.
            last = capture.num_layers - 1
            for site, index in zip(capture.sites, capture.huggingface_indices, strict=True):
                depth[site] = last - 0.5 if index is None else index
    if not depth:
        raise DatasetError(
            "no states of generated tokens were captured",
            where=str(dataset.directory),
            remedy="add them with: latentext capture DIR --sites all",
        )
    return sorted(depth, key=lambda site: depth[site])


def collect(
    dataset: Dataset, sites: Sequence[str | int], target: str, division: Division, keep: Keep | None = None
) -> tuple[ProbeRows, DatasetStates]:
    """The rows of a question, and their states at `sites`.

    Raises:
        DatasetError: a site was not captured, no text is finished, a part would be empty, or all targets of the
            training rows are the same.
    """
    views = {view.site: view for view in (dataset.states(site) for site in sites)}
    _check_same_rows(list(views.values()))
    lengths = text_lengths(dataset)
    usable = lengths.whole & kept_records(dataset, keep)
    if not usable.any():
        cut = int((~lengths.whole).sum())
        what = f"none of {len(usable)} texts can be used: {cut} were cut at the limit"
        what += f", {len(usable) - cut} did not pass the check" if cut < len(usable) else ""
        raise DatasetError(what, where=str(dataset.directory), remedy="allow more new tokens, or keep all texts")
    part_of_text = divide(dataset, usable, division)
    rows = _rows(dataset, next(iter(views.values())), lengths, part_of_text, TARGETS[target])
    _check(rows)
    return rows, DatasetStates(views)


def _rows(
    dataset: Dataset, view: StatesView, lengths: TextLengths, part_of_text: npt.NDArray[np.int8], target: Target
) -> ProbeRows:
    """Rows that have a target, of the texts that take part; read shard by shard, a few numbers kept a text."""
    records, starts, steps = ([np.empty(0, np.int64)] for _ in range(3))
    before = 0
    for shard in view.shards():
        here = token_rows(dataset, shard, lengths)
        kept = np.flatnonzero((part_of_text[here.record] != LEFT_OUT) & np.isfinite(target(here)))
        record, first, count = np.unique(here.record[kept], return_index=True, return_counts=True)
        step = np.arange(len(kept)) - np.repeat(first, count)
        if not (np.array_equal(here.step[kept], step) and np.array_equal(kept, np.repeat(kept[first], count) + step)):
            raise DatasetError(f"rows of a text are missing in {view.site}", where=str(dataset.directory))
        records.append(record)
        starts.append(kept[first] + before)
        steps.append(count)
        before += len(here.record)
    record = np.concatenate(records)
    asked = _asked(dataset)
    return ProbeRows(
        record=record,
        view_start=np.concatenate(starts),
        steps=np.concatenate(steps),
        prompt_length=lengths.prompt_tokens[record],
        total=lengths.total_tokens[record],
        asked=None if asked is None else asked[record],
        part=part_of_text[record],
        target=target,
    )


def _asked(dataset: Dataset) -> Numbers | None:
    """The variable `COUNT` of every text; None unless all have it as a whole number."""
    found = [np.empty(0, np.int64)]
    for table in dataset.iter_records(["variables"]):
        values = [json.loads(text).get(COUNT) for text in table["variables"].to_pylist()]
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            return None
        found.append(np.array(values, np.int64))
    return np.concatenate(found)


def _check(rows: ProbeRows) -> None:
    for part, name in enumerate(PART_NAMES):
        if not (rows.part == part).any():
            raise DatasetError(f"no rows for {name}", remedy="make more texts, or choose other shares")
    train = rows.of(TRAIN)
    least, most = np.inf, -np.inf
    for chunk in train.chunks():
        target = train.at(chunk).target
        least, most = min(least, float(target.min())), max(most, float(target.max()))
    if least == most:
        what = f"all {len(train)} training targets are {least:g}: there is nothing to predict"
        raise DatasetError(what, remedy="use prompts whose texts differ in length, or another target")


def _check_same_rows(views: Sequence[StatesView]) -> None:
    for view in views[1:]:
        for first, other in zip(views[0].shards(), view.shards(), strict=True):
            if not np.array_equal(first.rows, other.rows):
                what = f"{views[0].site} and {view.site} were captured of different texts or positions"
                raise DatasetError(what, remedy="probe them one by one")
