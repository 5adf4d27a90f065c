"""Rows of states for pictures: which sites have them, all rows piece by piece, and a sample of rows by a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentext.dataset.captures import choose
from latentext.dataset.reader import Dataset
from latentext.dataset.states_view import StatesView
from latentext.dataset.targets import TextLengths, remaining_tokens, text_lengths, token_rows
from latentext.errors import DatasetError

Doubles = npt.NDArray[np.float64]

_PIECE_BYTES = 32 << 20
"""Of states that are in memory at a time."""


@dataclass(frozen=True)
class SampledRows:
    """Some rows of a site: states [n, width] and remaining tokens [n], NaN where they are not known."""

    states: npt.NDArray[np.float32]
    remaining: Doubles


def sites_by_depth(dataset: Dataset) -> list[str]:
    """Sites that have a state for every token, from the embedding to the last norm."""
    depth: dict[str, float] = {}
    for stage in dataset.captures.values():
        if not stage.pooled:
            # The last block before the norm has no index of its own: it stands just before the norm.
            indices = ((stage.num_layers - 1.5 if k is None else k) for k in stage.huggingface_indices)
            depth.update(zip(stage.sites, indices, strict=True))
    return sorted(depth, key=lambda site: depth[site])


def deepest_view(dataset: Dataset) -> StatesView | str:
    """The states of the deepest site, which the next token is read from; in words why there are none."""
    sites = sites_by_depth(dataset)
    if not dataset.captures:
        return "no states were captured"
    if not sites:
        return "states were pooled, one row a text, so there is none for every token"
    return view_of(dataset, sites[-1])


def view_of(dataset: Dataset, site: str) -> StatesView | str:
    """The states of one site; in words why it cannot be said which, or why there are none."""
    captures = dataset.captures
    try:
        choose(captures, site, pool="none")
    except DatasetError as error:
        return str(error)
    view = dataset.states(site, pool="none")
    return view if len(view) else "no shard with states is finished yet"


def pieces(dataset: Dataset, view: StatesView) -> Iterator[SampledRows]:
    """All rows of a site in order, a bounded number at a time."""
    lengths = text_lengths(dataset)
    rows = max(1, _PIECE_BYTES // (4 * view.width))
    for shard in view.shards():
        remaining = _remaining(dataset, shard, lengths)
        for start in range(0, len(shard), rows):
            part = slice(start, start + rows)
            yield SampledRows(np.asarray(shard[part], np.float32), remaining[part])


def sample_rows(dataset: Dataset, view: StatesView, count: int, seed: int = 0) -> SampledRows:
    """At most `count` rows, each as likely as any other, in their order."""
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice(len(view), min(count, len(view)), replace=False))
    lengths, begin, remaining = text_lengths(dataset), 0, []
    for shard in view.shards():
        here = numbers[(numbers >= begin) & (numbers < begin + len(shard))] - begin
        remaining.append(_remaining(dataset, shard, lengths)[here])
        begin += len(shard)
    return SampledRows(np.asarray(view[numbers], np.float32), np.concatenate(remaining))


def _remaining(dataset: Dataset, shard: StatesView, lengths: TextLengths) -> Doubles:
    return remaining_tokens(token_rows(dataset, shard, lengths))
