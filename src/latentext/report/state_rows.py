"""Rows of states for pictures: which sites have them, all rows piece by piece, and a sample of rows by a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from latentext.dataset.captures import sites_with
from latentext.dataset.reader import Dataset
from latentext.dataset.states_view import StatesView
from latentext.dataset.targets import TextLengths, remaining_tokens, text_lengths, token_rows
from latentext.errors import DatasetError
from latentext.spec import Pool, Positions

Doubles = npt.NDArray[np.float64]

_PIECE_BYTES = 32 << 20
"""Of states that are in memory at a time."""


@dataclass(frozen=True)
class SampledRows:
    """Some rows of a site: states [n, width] and remaining tokens [n], NaN where they are not known."""

    states: npt.NDArray[np.float32]
    remaining: Doubles


def pool_to_draw(dataset: Dataset) -> Pool:
    """``none`` where a state was kept for every token; else ``first``, which stands at a place in its text, or the
    first pooling that there is."""
    pools = [pool for stage in dataset.captures.values() for pool in stage.pool]
    return next((pool for pool in ("none", "first") if pool in pools), pools[0] if pools else "none")


def sites_by_depth(dataset: Dataset) -> list[str]:
    """Sites that have a state for every token, else one for every text, from the embedding to the last norm."""
    return sites_with(dataset.captures, get_args(Positions), pool_to_draw(dataset))


def deepest_view(dataset: Dataset) -> StatesView | str:
    """The states of the deepest site, which the next token is read from; in words why there are none."""
    sites = sites_by_depth(dataset)
    if not dataset.captures:
        return "no states were captured"
    return view_of(dataset, sites[-1])


def deepest_view_in_texts(dataset: Dataset) -> StatesView | str:
    """The same, where each state stands at a place in its text; in words why there are none."""
    view = deepest_view(dataset)
    lengths = text_lengths(dataset)
    if not lengths.whole.any():
        return view if isinstance(view, str) else lengths.why_none_is_whole()
    if isinstance(view, StatesView) and view.pool not in ("none", "first"):
        return f"states were pooled over the text ({view.pool}), so none is from a place in it"
    return view


def view_of(dataset: Dataset, site: str) -> StatesView | str:
    """The states of one site; in words why it cannot be said which, or why there are none."""
    pool = pool_to_draw(dataset)
    try:
        view = dataset.states(site, pool=pool)
    except DatasetError as error:
        return str(error)
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
