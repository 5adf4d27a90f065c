"""Keys and values of a changing batch in storage that is allocated once.

transformers' dynamic cache concatenates at every step, which copies the whole cache each time. Here each block has one
buffer [rows, heads, columns, width]. All rows share the column of the newest token, so a row that entered late begins
further right (left padding, moved along). A `Window` says which rows and columns the next forward pass works on:

    columns      0 ....... start ........... end ..... capacity
    row 0                    |#################|
    row 1                         |############|        entered later
    row 2  (free)

A prefill writes the right-aligned prompts of a few rows into the columns just before `end`; a decode step writes one
column. Both return views, never copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from latentext.errors import EngineError
from latentext.libraries.transformers.models import (
    Cache,
    CacheLayerMixin,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    cache_argument,
    cache_layers,
    check_layer_class,
    is_stateful,
    remembers,
)


@dataclass
class Window:
    """The part of the buffers that the next forward pass reads and writes.

    With `column` (int64 [1], on the device) the one new token goes there, and all columns up to `write` are read: which
    of them count is for the attention mask to say.
    """

    row_start: int = 0
    row_stop: int = 0
    start: int = 0
    write: int = 0
    column: torch.Tensor | None = None


class SlabLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one block; allocated when the block first writes, since only it knows its shapes."""

    is_sliding = False

    def __init__(self, window: Window, rows: int, columns: int):
        super().__init__()
        self.window, self.rows, self.columns = window, rows, columns

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate zeros: an uninitialised NaN would survive a zero attention weight."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (
            torch.zeros(self.rows, s.shape[1], self.columns, s.shape[3], dtype=s.dtype, device=s.device)
            for s in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new columns and return views of all columns of the window."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        w, stop = self.window, self.window.write + key_states.shape[2]
        views = []
        for storage, new in ((self.keys, key_states), (self.values, value_states)):
            rows = storage[w.row_start : w.row_stop]
            if w.column is None:
                rows[:, :, w.write : stop] = new
            else:
                rows.index_copy_(2, w.column, new)
            views.append(rows[:, :, w.start : stop])
        return views[0], views[1]

    def get_seq_length(self) -> int:
        return self.window.write - self.window.start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return self.columns


class SlabCache(Cache):  # type: ignore[misc]
    """The cache that the decode loop hands to a model: `SlabLayer` for every block, one shared `Window`."""

    def __init__(self, num_blocks: int, rows: int, columns: int):
        self.window = Window()
        self.columns = columns
        super().__init__(layers=[SlabLayer(self.window, rows, columns) for _ in range(num_blocks)])

    def has_previous_state(self, layer_idx: int | None = None, state_idx: int | None = None) -> bool:
        """Whether a recurrent state is kept: never here, where transformers up to 5.14 raises instead (Granite 4)."""
        return False

    def move_rows(self, source: torch.Tensor, target: torch.Tensor, start: int, end: int) -> None:
        """Copy columns [start, end) of the `source` rows to the `target` rows, in every block."""
        for storage in self._storages():
            storage[target, :, start:end] = storage[source, :, start:end]

    def clear_row(self, row: int) -> None:
        """Forget a row that took a NaN: a later text there would multiply it by a zero attention weight and keep it."""
        for storage in self._storages():
            storage[row] = 0.0

    def clear(self) -> None:
        """Forget all rows."""
        for storage in self._storages():
            storage.zero_()

    def shift_to_front(self, start: int, end: int) -> None:
        """Move columns [start, end) of all rows to the front, when the right edge is reached."""
        for storage in self._storages():
            storage[:, :, : end - start] = storage[:, :, start:end].clone()

    def _storages(self) -> list[torch.Tensor]:
        return [s for layer in self.layers if layer.is_initialized for s in (layer.keys, layer.values)]


def keeps_keys_and_values(config: Any) -> bool:
    """Whether the blocks of a model remember keys and values alone, as transformers' own cache tells."""
    own_layers = filter(remembers, cache_layers(config))
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in own_layers)


def check_cacheable(model: Any) -> None:
    """Refuse a model that remembers by more than keys and values: this cache would drop the rest without a word.

    Raises:
        EngineError: the model keeps a recurrent or convolutional state, or a cache of its own kind; or transformers
            is newer than this code.
    """
    check_layer_class(SlabLayer)
    if is_stateful(model) or not keeps_keys_and_values(model.config):
        raise EngineError(
            f"{type(model).__name__} keeps more than keys and values of its tokens, which this engine cannot batch",
            remedy="use a model of attention blocks only",
        )
    if cache_argument(model.forward) is None:
        raise EngineError(
            f"{type(model).__name__}.forward takes no cache of keys and values (no argument cache or past_key_values)",
            remedy="use a model of attention blocks only, or an older transformers",
            heading="Newer libraries",
        )
