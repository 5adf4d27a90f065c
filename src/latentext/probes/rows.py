"""The rows that a probe is made from: a few numbers a row in memory, their states on the disk until they are needed.

A source of states gives the same rows of one or several sites block by block. The dataset is one source; random models
that read the same texts, and plain features such as the step, are others, so everything is fitted, chosen and judged
in exactly the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latentext.dataset.states_view import OpenParts, StatesView

Numbers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

ROWS_PER_BLOCK = 8_192
"""Rows whose states are in memory at a time."""

_MAPPED_PARTS = 1
"""Of each site: rows are read in their order, so a part is done with when the next one begins."""


@dataclass(frozen=True)
class ProbeRows:
    """All rows that take part, ordered by text and step; one entry a row in every array.

    Attributes:
        record: row number of the text in ``dataset.records()``; what a bootstrap draws.
        view_row: row number in the site's states.
        step: generated tokens before this row, from 0.
        prompt_length: tokens of the prompt.
        remaining: tokens still to come after the one that this row predicts; 0 in a text's last row.
        asked: the count that the prompt asks for; None where the dataset has no such variable.
        target: what is to be predicted; for bins the number of the bin.
        part: `TRAIN`, `VALIDATION` or `TEST` (see `latentext.probes.division`).
    """

    record: Numbers
    view_row: Numbers
    step: Numbers
    prompt_length: Numbers
    remaining: Numbers
    asked: Numbers | None
    target: Doubles
    part: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.record)

    def of(self, part: int) -> Numbers:
        """Numbers of the rows of one part."""
        return np.flatnonzero(self.part == part)

    def texts(self, part: int) -> int:
        """How many texts a part has."""
        return len(np.unique(self.record[self.part == part]))


@dataclass(frozen=True)
class Block:
    """Some rows, by their numbers in `ProbeRows`, and a way to read the states [n, width] of a site at them."""

    rows: Numbers
    read: Callable[[str], npt.NDArray[np.floating]]


class StatesSource(Protocol):
    """Something that has states at every row of `ProbeRows`, for one or several sites."""

    @property
    def widths(self) -> Mapping[str, int]:
        """Length of a state by site."""
        ...

    def blocks(self, rows: Numbers) -> Iterator[Block]:
        """The states of these rows (ascending), every row once, in blocks of bounded size and any order."""
        ...


@dataclass(frozen=True)
class DatasetStates:
    """The states that a dataset holds; all views have the same rows."""

    views: Mapping[str, StatesView]
    view_row: Numbers

    @property
    def widths(self) -> dict[str, int]:
        return {site: view.width for site, view in self.views.items()}

    def blocks(self, rows: Numbers) -> Iterator[Block]:
        # Every state is read once, so only the parts at hand stay mapped: pages that were touched count as memory.
        views = {site: replace(view, _open=OpenParts(_MAPPED_PARTS)) for site, view in self.views.items()}
        for chunk in chunks(rows):
            where = self.view_row[chunk]
            # A run of rows is a slice of the file: read once, without gathering.
            run = where[-1] - where[0] + 1 == len(where)
            index = slice(int(where[0]), int(where[-1]) + 1) if run else where
            yield Block(chunk, lambda site, index=index: views[site][index])  # type: ignore[misc]


@dataclass(frozen=True)
class Features:
    """Plain numbers in the place of states: sets of features, by name, each [rows, features]."""

    tables: Mapping[str, Doubles]

    @property
    def widths(self) -> dict[str, int]:
        return {name: table.shape[1] for name, table in self.tables.items()}

    def blocks(self, rows: Numbers) -> Iterator[Block]:
        for chunk in chunks(rows):
            yield Block(chunk, lambda name, chunk=chunk: self.tables[name][chunk])  # type: ignore[misc]


def chunks(rows: Numbers, size: int = ROWS_PER_BLOCK) -> Iterator[Numbers]:
    """Row numbers, `size` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def gather(source: StatesSource, site: str, rows: Numbers) -> npt.NDArray[np.float32]:
    """The states of one site at ascending `rows`, all in memory: for probes that read them many times."""
    states = np.empty((len(rows), source.widths[site]), np.float32)
    for block in source.blocks(rows):
        states[np.searchsorted(rows, block.rows)] = block.read(site)
    return states
