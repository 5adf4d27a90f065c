"""From a dataset to the rows of a question: which texts count, to which part they belong, and their target.

Only generated tokens of texts that the model ended itself take part: a text that was cut has no known length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from latentext.dataset.captures import name_of, pool_of_texts, sites_with
from latentext.dataset.checks import kept_records
from latentext.dataset.reader import Dataset
from latentext.dataset.split_rows import shards_side_by_side
from latentext.dataset.states_view import StatesView
from latentext.dataset.targets import (
    Target,
    TextLengths,
    bin_names,
    log_remaining_tokens,
    refuse_given_texts,
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
from latentext.probes.taking_part import TakingPart, taking_part
from latentext.spec import Keep, Pool, Positions

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

_WITH_GENERATED: tuple[Positions, ...] = ("generated", "all")
"""Positions of captures that hold every generated token."""

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


def pool_to_probe(dataset: Dataset, wanted: Pool | None = None) -> Pool:
    """``none`` where a row for every token was kept, else the only pooling; `wanted` names one.

    Raises:
        DatasetError: there are no such states, several poolings and none is named, or texts that nobody wrote.
    """
    refuse_given_texts(dataset)
    return pool_of_texts(dataset.captures, _WITH_GENERATED, wanted)


def captured_sites(dataset: Dataset, pool: Pool | None = None) -> list[str]:
    """Sites with a row for every generated token, or with one pooled row per text, by depth; errors as
    `pool_to_probe`."""
    return sites_with(dataset.captures, _WITH_GENERATED, pool_to_probe(dataset, pool))


def view_to_probe(dataset: Dataset, site: str | int, pool: Pool = "none") -> StatesView:
    """The states of a site that probes read: of generated tokens, or pooled.

    Raises:
        DatasetError: the site was not captured so.
    """
    name = name_of(dataset.captures, site)
    generated = pool != "none" or name in sites_with(dataset.captures, ("generated",), pool)
    return dataset.states(name, "generated" if generated else "all", pool)


class Collected(NamedTuple):
    """The rows of a question, their states, and how many texts and rows those are of all."""

    rows: ProbeRows
    source: DatasetStates
    taking_part: TakingPart


def collect(
    dataset: Dataset,
    sites: Sequence[str | int],
    target: str,
    division: Division,
    keep: Keep | None = None,
    pool: Pool = "none",
) -> Collected:
    """The rows of a question, and their states at `sites`.

    A pooled state is of a text as a whole: it is asked once, at step 0.

    Raises:
        SpecError: a target that changes from token to token, of states that are pooled over the text.
        DatasetError: a site was not captured, no text is finished, a part would be empty, or all targets of the
            training rows are the same.
    """
    _check_pool(target, pool)
    views = {view.site: view for view in (view_to_probe(dataset, site, pool) for site in sites)}
    for _ in shards_side_by_side(list(views.values())):
        pass  # All sites have the same rows.
    lengths, kept = text_lengths(dataset), kept_records(dataset, keep)
    usable = lengths.whole & kept
    if not usable.any():
        reasons = [lengths.without_length()] * (not lengths.whole.all())
        reasons += [f"{int((lengths.whole & ~kept).sum()):,} did not pass the check"] * bool(
            (lengths.whole & ~kept).any()
        )
        what = f"none of {len(usable)} texts can be used: {', '.join(reasons) or 'there are none yet'}"
        raise DatasetError(what, where=str(dataset.directory), remedy="allow more new tokens, or keep all texts")
    part_of_text = divide(dataset, usable, division)
    view = next(iter(views.values()))
    rows, counts = _rows(dataset, view, lengths, part_of_text, TARGETS[target])
    _check(rows)
    used = np.zeros(len(usable), np.int64)
    used[rows.record] = rows.steps
    return Collected(rows, DatasetStates(views), taking_part(dataset, lengths, kept, counts[0], used, counts[1]))


def _check_pool(target: str, pool: Pool) -> None:
    if pool not in ("none", "first") and target != "total":
        what = f"states pooled by {pool} have read the whole text, so nothing remains to be predicted"
        raise SpecError(what, where=f"target {target}", remedy="ask for --target total, or probe --pool first")


def _rows(
    dataset: Dataset, view: StatesView, lengths: TextLengths, part_of_text: npt.NDArray[np.int8], target: Target
) -> tuple[ProbeRows, tuple[Numbers, int]]:
    """Rows that have a target, of the texts that take part; read shard by shard, a few numbers kept a text.

    Beside them: how many rows of generated tokens every record has, and how many all prompts have.
    """
    records, starts, steps = ([np.empty(0, np.int64)] for _ in range(3))
    before, prompt_rows, all_rows = 0, 0, np.zeros(len(part_of_text), np.int64)
    for shard in view.shards():
        here = token_rows(dataset, shard, lengths)
        if view.pool != "none":
            here = replace(here, step=np.zeros_like(here.step))
        kept = np.flatnonzero((part_of_text[here.record] != LEFT_OUT) & np.isfinite(target(here)))
        record, first, count = np.unique(here.record[kept], return_index=True, return_counts=True)
        step = np.arange(len(kept)) - np.repeat(first, count)
        if not (np.array_equal(here.step[kept], step) and np.array_equal(kept, np.repeat(kept[first], count) + step)):
            raise DatasetError(f"rows of a text are missing in {view.label}", where=str(dataset.directory))
        all_rows += np.bincount(here.record[here.step >= 0], minlength=len(all_rows))
        prompt_rows += int((here.step < 0).sum())
        records.append(record)
        starts.append(kept[first] + before)
        steps.append(count)
        before += len(here.record)
    record = np.concatenate(records)
    asked = _asked(dataset)
    rows = ProbeRows(
        record=record,
        view_start=np.concatenate(starts),
        steps=np.concatenate(steps),
        prompt_length=lengths.prompt_tokens[record],
        total=lengths.total_tokens[record],
        asked=None if asked is None else asked[record],
        part=part_of_text[record],
        target=target,
    )
    return rows, (all_rows, prompt_rows)


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
