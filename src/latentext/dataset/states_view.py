"""One site's states as an array [N, width] that lies on the disk: slicing reads the rows asked for and no others.

Rows come shard after shard, in a shard ordered by (index, sample, position), however many parts a shard has. How many
rows there are is known from the receipts, so a view over thousands of files opens none until it is indexed, and only a
few stay open at a time.

bfloat16 comes as float32 from NumPy indexing, because NumPy has no such type; `torch` gives the stored type.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from latentext.dataset.parts import ROW_DTYPE, SAFETENSORS_NAME, StatesPart, Take, open_part, widen
from latentext.errors import DatasetError
from latentext.spec import DType, Pool
from latentext.states.layer_names import site_label

if TYPE_CHECKING:
    import torch

Rows = npt.NDArray[Any]
Index = int | slice | EllipsisType | list[int] | npt.NDArray[Any]


class TextTokens(NamedTuple):
    """The token ids of prompt + completion of a text, int32, and how many of them are the prompt's."""

    token_ids: npt.NDArray[np.int32]
    prompt_tokens: int


Tokens = Callable[[int], Mapping[tuple[int, int], TextTokens]]
"""Gives, for a shard, the tokens of each text by (index, sample)."""

_OPEN_PARTS = 16


@dataclass(frozen=True, slots=True)
class ShardParts:
    """The parts of one shard: requests `start` … `stop` - 1, and the number of rows in each file."""

    number: int
    start: int
    stop: int
    parts: tuple[tuple[Path, int], ...]

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.parts)


class OpenParts:
    """The few arrays used last, parts or rows of shards; the others are let go, so memory and maps stay bounded."""

    def __init__(self, limit: int = _OPEN_PARTS):
        self._limit = limit
        self._kept: OrderedDict[tuple[Any, ...], Rows] = OrderedDict()

    def get(self, key: tuple[Any, ...], make: Callable[[], Rows]) -> Rows:
        """The array that is kept under `key`, made now if it is not there."""
        if key not in self._kept:
            self._kept[key] = make()
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


@dataclass(frozen=True)
class StatesView:
    """States of one site: an array [N, width] to index, with the columns of its rows beside it.

    Made by `Dataset.states`. ``view[10:20]``, ``view[-1]`` and ``view[array_of_row_numbers]`` read those rows only.

    Attributes:
        site: name of the site.
        width: length of a state.
        stored_dtype: type of the states in the files.
        pool: how the states of a text were pooled; then a text has one row. It stands on the last token of the prompt
            for ``first``, else on the last token whose state went into it.
        layer: index of the site in Hugging Face's ``hidden_states``; None for the last block before the norm.
        align: ``predict``: `token_id` of a row is the token that its state predicts. ``at``: the token it stands on.
    """

    site: str
    tensor: str = field(repr=False)
    width: int
    stored_dtype: DType
    shard_parts: tuple[ShardParts, ...] = field(repr=False)
    tokens_of_shard: Tokens = field(repr=False)
    pool: Pool = "none"
    layer: int | None = None
    align: Literal["predict", "at"] = "predict"
    _open: OpenParts = field(default_factory=OpenParts, repr=False, compare=False)
    _rows: OpenParts = field(default_factory=OpenParts, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        return int(self._ends[-1]) if len(self._ends) else 0, self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what NumPy indexing gives: float32 where bfloat16 is stored."""
        return np.dtype("float16" if self.stored_dtype == "float16" else "float32")

    @property
    def label(self) -> str:
        """What these states are called where people read, such as ``layer 8, resid_post.7 (mean)``."""
        label = site_label(self.site, self.layer)
        return label if self.pool == "none" else f"{label} ({self.pool})"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        """Rows by a number, a slice, or an array of row numbers or of booleans; [n, width], or [width] for a number."""
        states = widen(self._read(self._selection(index)), SAFETENSORS_NAME[self.stored_dtype])
        return states[0] if isinstance(index, (int, np.integer)) else states

    def __getitems__(self, indices: Sequence[int]) -> list[npt.NDArray[Any]]:
        """Several rows in one read: how a torch DataLoader asks for a batch."""
        return list(self[np.asarray(indices)])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All rows in one read, so that ``np.asarray(view)`` and ``sklearn`` take a view as it is."""
        states = self[:]
        if copy is False and dtype is not None and np.dtype(dtype) != states.dtype:
            raise ValueError(f"states of type {states.dtype} become {np.dtype(dtype)} only by a copy")
        return np.array(states, dtype, copy=True) if copy else np.asarray(states, dtype)

    def torch(self, index: Index = slice(None)) -> torch.Tensor:
        """Rows as a CPU tensor of the stored type, in memory of its own."""
        import torch

        states = self._read(self._selection(index), copy=True)
        tensor = torch.from_numpy(states.view(np.int16) if self.stored_dtype == "bfloat16" else states)
        tensor = tensor.view(torch.bfloat16) if self.stored_dtype == "bfloat16" else tensor
        return tensor[0] if isinstance(index, (int, np.integer)) else tensor

    @cached_property
    def rows(self) -> Rows:
        """Columns `index, sample, position, token_id, remaining` of all rows, one structured array (24 bytes a row).

        For large datasets take them shard by shard: ``for shard in view.shards(): shard.rows``.
        """
        columns = [self._shard_rows(shard) for shard in self.shard_parts]
        return np.concatenate(columns) if columns else np.empty(0, ROW_DTYPE)

    def shards(self) -> Iterator[StatesView]:
        """The same view one shard at a time: for passes over everything in bounded memory."""
        for shard in self.shard_parts:
            yield replace(self, shard_parts=(shard,))

    def text(self, index: int, sample: int = 0) -> slice:
        """Where the rows of one text are: ``view[view.text(7)]`` are its states, ``view.rows[view.text(7)]`` its rows.

        Raises:
            DatasetError: there are no states of that text.
        """
        for begin, shard in zip(self._begins, self.shard_parts, strict=True):
            if shard.start <= index < shard.stop:
                rows = self._shard_rows(shard)
                found = np.flatnonzero((rows["index"] == index) & (rows["sample"] == sample))
                if len(found):
                    return slice(int(begin + found[0]), int(begin + found[-1] + 1))
        raise DatasetError(f"no states of request {index}, sample {sample}", remedy="it failed, or is still to come")

    def align_at(self) -> StatesView:
        """The same rows, named by the token they stand on instead of the token they predict.

        Only `token_id` changes. `remaining` belongs to the row: it still counts the tokens after the predicted one.
        """
        return replace(self, align="at", _open=OpenParts(), _rows=OpenParts())

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return np.cumsum([shard.rows for shard in self.shard_parts], dtype=np.int64)

    @property
    def _begins(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), self._ends[:-1]]) if len(self._ends) else self._ends

    def _selection(self, index: Index) -> slice | npt.NDArray[np.int64]:
        """Row numbers, as an ascending slice of step 1 where they are one."""
        count = len(self)
        if index is Ellipsis:
            index = slice(None)
        if isinstance(index, slice):
            start, stop, step = index.indices(count)
            return slice(start, max(start, stop)) if step == 1 else np.arange(start, stop, step)
        numbers = np.asarray(index)
        if numbers.dtype == bool:
            if numbers.shape != (count,):
                raise IndexError(f"a mask of shape {numbers.shape} for {count} rows")
            return np.flatnonzero(numbers)
        if numbers.size and numbers.dtype.kind not in "iu":
            raise TypeError(f"rows are selected by whole numbers, not {numbers.dtype}")
        numbers = np.atleast_1d(numbers).astype(np.int64)
        if numbers.ndim != 1:
            raise IndexError(f"rows are selected by one list of numbers, not one of shape {numbers.shape}")
        if numbers.size and (numbers.min() < -count or numbers.max() >= count):
            raise IndexError(
                f"row {int(numbers.max())} of {count}" if numbers.max() >= count else "row before the first"
            )
        return np.where(numbers < 0, numbers + count, numbers)

    def _read(self, selection: slice | npt.NDArray[np.int64], *, copy: bool = False) -> npt.NDArray[Any]:
        """Rows as they are stored; a view of the file where the selection lies in one part, unless `copy`."""
        if isinstance(selection, slice):
            pieces = [self._read_shard(shard, slice(*bounds)) for shard, bounds in self._pieces(selection)]
            if len(pieces) == 1:
                return pieces[0].copy() if copy else pieces[0]
            return np.concatenate(pieces) if pieces else self._empty(0)
        states = self._empty(len(selection))
        for take in self._takes_of_shards(selection):
            take.into(states)
        return states

    def _takes_of_shards(self, selection: npt.NDArray[np.int64]) -> Iterator[Take]:
        shard_of = np.searchsorted(self._ends, selection, side="right")
        for number in np.flatnonzero(np.bincount(shard_of)):
            places = np.flatnonzero(shard_of == number)
            yield from self._takes(self.shard_parts[number], selection[places] - self._begins[number], places)

    def _pieces(self, selection: slice) -> Iterator[tuple[ShardParts, tuple[int, int]]]:
        first = int(np.searchsorted(self._ends, selection.start, side="right"))
        for shard, begin, end in zip(self.shard_parts[first:], self._begins[first:], self._ends[first:], strict=True):
            if begin >= selection.stop:
                return
            bounds = max(selection.start - begin, 0), min(selection.stop, end) - begin
            if bounds[0] < bounds[1]:
                yield shard, (int(bounds[0]), int(bounds[1]))

    def _read_shard(self, shard: ShardParts, rows: slice | npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        if isinstance(rows, slice):
            if len(shard.parts) == 1:
                return self._map(shard.parts[0])[rows]
            rows = np.arange(rows.start, rows.stop)
        states = self._empty(len(rows))
        for take in self._takes(shard, rows, np.arange(len(rows))):
            take.into(states)
        return states

    def _takes(self, shard: ShardParts, rows: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> Iterator[Take]:
        """Where rows of a shard are, and to which places they go, which ascend."""
        if len(shard.parts) == 1:
            yield Take(self._map(shard.parts[0]), rows, places)
            return
        wanted = self._order(shard)[rows]
        ends = np.cumsum([count for _, count in shard.parts])
        part_of = np.searchsorted(ends, wanted, side="right")
        for number in np.unique(part_of):
            here = np.flatnonzero(part_of == number)
            begin = ends[number] - shard.parts[number][1]
            yield Take(self._map(shard.parts[number]), wanted[here] - begin, places[here])

    def _order(self, shard: ShardParts) -> npt.NDArray[np.int64]:
        """Row numbers over all parts of a shard in the order of (index, sample, position)."""

        def make() -> npt.NDArray[np.int64]:
            rows = self._stored_rows(shard)
            return np.lexsort((rows["position"], rows["sample"], rows["index"]))

        return self._rows.get(("order", shard.number), make)

    def _stored_rows(self, shard: ShardParts) -> Rows:
        return np.concatenate([self._part(part).read_rows() for part in shard.parts] or [np.empty(0, ROW_DTYPE)])

    def _shard_rows(self, shard: ShardParts) -> Rows:
        def make() -> Rows:
            rows = self._stored_rows(shard)
            if len(shard.parts) > 1:
                rows = rows[self._order(shard)]
            if self.pool == "first":
                _stand_on_prompts(rows, self.tokens_of_shard(shard.number))
            if self.align == "at":
                _name_by_own_token(rows, self.tokens_of_shard(shard.number))
            rows.flags.writeable = False  # It is kept and handed out again.
            return rows

        return self._rows.get(("rows", shard.number), make)

    def _map(self, part: tuple[Path, int]) -> npt.NDArray[Any]:
        return self._open.get((part[0], self.tensor), lambda: self._part(part).map(self.tensor))

    def _part(self, part: tuple[Path, int]) -> StatesPart:
        path, rows = part
        opened = open_part(path)
        if opened.rows != rows:
            raise DatasetError(f"{opened.rows} rows, its receipt says {rows}", where=str(path))
        return opened

    def _empty(self, rows: int) -> npt.NDArray[Any]:
        return np.empty((rows, self.width), np.uint16 if self.stored_dtype == "bfloat16" else self.dtype)


def _stand_on_prompts(rows: Rows, tokens: Mapping[tuple[int, int], TextTokens]) -> None:
    """Move each row to the last token of its prompt: a part has one set of row columns for all poolings of a text."""
    for row in rows:
        text = tokens[int(row["index"]), int(row["sample"])]
        row["position"] = text.prompt_tokens - 1
        row["token_id"] = text.token_ids[text.prompt_tokens]
        row["remaining"] = len(text.token_ids) - text.prompt_tokens - 1


def _name_by_own_token(rows: Rows, tokens: Mapping[tuple[int, int], TextTokens]) -> None:
    """Put the token at each row's position into `token_id`."""
    starts = np.flatnonzero(np.diff(rows["index"], prepend=-1) | np.diff(rows["sample"], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        text = tokens[int(rows["index"][start]), int(rows["sample"][start])].token_ids
        rows["token_id"][start:stop] = text[rows["position"][start:stop]]
