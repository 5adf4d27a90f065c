"""The rows that a probe is made from: a few numbers a text in memory, their states on the disk until they are needed.

A capture of generated tokens holds the steps 0, 1, … of a text in a run, so the step of a row, its place in the files
and its target follow from its text by arithmetic. Nothing here has an entry a row: memory grows with the number of
texts (about fifty bytes each) and never with their lengths.

A source of states gives the same rows of one or several sites block by block. The dataset is one source; random models
that read the same texts, and plain features such as the step, are others, so everything is fitted, chosen and judged
in exactly the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latentext.dataset.states_view import OpenParts, StatesView
from latentext.dataset.targets import Target, TokenRows
from latentext.phases import phase

Numbers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

ROWS_PER_BLOCK = 8_192
"""Rows whose states are in memory at a time."""


@dataclass(frozen=True)
class RowValues:
    """What is known of some rows; all arrays are [rows].

    Attributes:
        text: number of the row's text in the `ProbeRows` that was asked.
        view_row: row number in the site's states.
        step: generated tokens before this row, from 0.
        prompt_length: tokens of the prompt.
        remaining: tokens still to come after the one that this row predicts; 0 in a text's last row.
        asked: the count that the prompt asks for; None where the dataset has no such variable.
        target: what is to be predicted; for bins the number of the bin.
    """

    text: Numbers
    view_row: Numbers
    step: Numbers
    prompt_length: Numbers
    remaining: Numbers
    asked: Numbers | None
    target: Doubles


@dataclass(frozen=True)
class ProbeRows:
    """All texts that take part, in the order of the records; one entry a text in every array.

    Rows are numbered from 0, text after text and step after step.

    Attributes:
        record: row number of the text in ``dataset.records()``.
        view_start: row number of the text's step 0 in the site's states.
        steps: how many rows of the text take part: steps 0 … steps - 1.
        prompt_length, total: tokens of the prompt and of the generated text, its end token included.
        asked: the count that the prompt asks for; None where the dataset has no such variable.
        part: `TRAIN`, `VALIDATION` or `TEST` (see `latentext.probes.division`).
        target: gives what is to be predicted.
    """

    record: Numbers
    view_start: Numbers
    steps: Numbers
    prompt_length: Numbers
    total: Numbers
    asked: Numbers | None
    part: npt.NDArray[np.int8]
    target: Target

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self.steps) else 0

    @property
    def texts(self) -> int:
        """How many texts there are."""
        return len(self.record)

    def of(self, part: int) -> ProbeRows:
        """The rows of one part, numbered from 0 anew."""
        return self.only(np.flatnonzero(self.part == part))

    def only(self, texts: Numbers) -> ProbeRows:
        """The rows of these texts (ascending), numbered from 0 anew."""
        arrays = ("record", "view_start", "steps", "prompt_length", "total", "part")
        asked = None if self.asked is None else self.asked[texts]
        return ProbeRows(**{name: getattr(self, name)[texts] for name in arrays}, asked=asked, target=self.target)

    def chunks(self, size: int = ROWS_PER_BLOCK) -> Iterator[range]:
        """All row numbers in their order, `size` at a time."""
        for start in range(0, len(self), size):
            yield range(start, min(start + size, len(self)))

    def text_of(self, rows: range | Numbers) -> Numbers:
        """[rows], the number of each row's text."""
        return np.asarray(np.searchsorted(self._ends, np.asarray(rows), side="right"), np.int64)

    def at(self, rows: range | Numbers) -> RowValues:
        """What is known of these rows."""
        text = self.text_of(rows)
        step = np.asarray(rows, np.int64) - (self._ends[text] - self.steps[text])
        prompt, total = self.prompt_length[text], self.total[text]
        token_rows = TokenRows(self.record[text], step, prompt, total, np.ones(len(text), bool))
        return RowValues(
            text=text,
            view_row=self.view_start[text] + step,
            step=step,
            prompt_length=prompt,
            remaining=total - 1 - step,
            asked=None if self.asked is None else self.asked[text],
            target=self.target(token_rows),
        )

    @cached_property
    def _ends(self) -> Numbers:
        return np.cumsum(self.steps, dtype=np.int64)


@dataclass(frozen=True)
class Block:
    """Some rows, by their numbers in `ProbeRows`, and a way to read the states [n, width] of a site at them."""

    rows: range
    read: Callable[[str], npt.NDArray[np.floating]]


class StatesSource(Protocol):
    """Something that has states at every row of `ProbeRows`, for one or several sites."""

    @property
    def widths(self) -> Mapping[str, int]:
        """Length of a state by site."""
        ...

    def blocks(self, rows: ProbeRows) -> Iterator[Block]:
        """The states of all these rows in their order, in blocks of bounded size."""
        ...


@dataclass(frozen=True)
class DatasetStates:
    """The states that a dataset holds; all views have the same rows."""

    views: Mapping[str, StatesView]

    @property
    def widths(self) -> dict[str, int]:
        return {site: view.width for site, view in self.views.items()}

    def blocks(self, rows: ProbeRows) -> Iterator[Block]:
        for chunk in rows.chunks():
            where = rows.at(chunk).view_row
            # A run of rows is a slice of the file: read once, without gathering.
            run = where[-1] - where[0] + 1 == len(where)
            index = slice(int(where[0]), int(where[-1]) + 1) if run else where
            yield Block(chunk, lambda site, index=index: _read_once(self.views[site], index))  # type: ignore[misc]


def _read_once(view: StatesView, index: slice | Numbers) -> npt.NDArray[np.floating]:
    """Rows of a view that does not stay open: pages that were touched count as memory while their file is mapped."""
    return replace(view, _open=OpenParts(1))[index]


@dataclass(frozen=True)
class Feature:
    """Numbers that follow from what is known of rows: a function to [rows, width]."""

    width: int
    make: Callable[[RowValues], Doubles]


@dataclass(frozen=True)
class Features:
    """Plain numbers in the place of states, by name."""

    tables: Mapping[str, Feature]

    @property
    def widths(self) -> dict[str, int]:
        return {name: table.width for name, table in self.tables.items()}

    def blocks(self, rows: ProbeRows) -> Iterator[Block]:
        for chunk in rows.chunks():
            values = rows.at(chunk)
            yield Block(chunk, lambda name, values=values: self.tables[name].make(values))  # type: ignore[misc]


def gather(source: StatesSource, site: str, rows: ProbeRows) -> npt.NDArray[np.float32]:
    """The states of one site at `rows`, all in memory: for probes that read them many times."""
    states = np.empty((len(rows), source.widths[site]), np.float32)
    with phase("reading rows", len(rows)) as reading:
        for block in source.blocks(rows):
            states[block.rows.start : block.rows.stop] = block.read(site)
            reading.moved(len(block.rows))
    return states
