"""Decode steps of a few fixed shapes, which a GPU replays as CUDA graphs.

A step is about a thousand small kernels. For 256 texts and a model of 3 billion weights an H100 needs 15 ms for them
and the CPU 24 ms to launch them one by one; a smaller model leaves the GPU idle even longer. A graph is launched at
once, but only for the shapes and addresses that it was recorded with. So rows and columns are rounded up, the buffers
stay where they are from shard to shard, and the column to write is a number on the device. The rows beyond the texts
compute on what was left in them, and nobody looks at the result.

How a number is rounded depends on nothing else, so a shard computed again takes the same shapes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from latentext.engines.transformers.attention import decoding_attention
from latentext.engines.transformers.cache import SlabCache
from latentext.engines.transformers.forward import last_logits
from latentext.engines.transformers.loaded import LoadedModel
from latentext.libraries.transformers.models import DynamicLayer, cache_layers, has_fixed_shapes
from latentext.states.layout import Sink

logger = logging.getLogger(__name__)

FEWEST_STEPS = 32
"""Texts shorter than this are over before recorded steps have paid for being recorded."""

_COLUMNS = 128
_SMALL_ROWS = (8, 32)
_ROWS = 64

_FIXED_ROTATIONS = (None, "default", "linear", "llama3", "yarn")
"""Rotary embeddings that do not look at the positions on the host."""


@dataclass(frozen=True)
class StepBuffers:
    """What decode steps read and write; mask int64 [rows, columns], positions and tokens int64 [rows]."""

    cache: SlabCache
    mask: torch.Tensor
    position: torch.Tensor
    next_token: torch.Tensor

    @classmethod
    def allocate(cls, loaded: LoadedModel, rows: int, columns: int) -> StepBuffers:
        """Zeros; keys and values follow when the model first writes some."""

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(*shape, dtype=torch.long, device=loaded.device)

        cache = SlabCache(loaded.layout.num_blocks, rows, columns)
        return cls(cache, zeros(rows, columns), zeros(rows), zeros(rows))


class FixedSteps:
    """Runs decode steps in rounded shapes, one shard after the other.

    `prepare` begins a shard. While a step is recorded, the hooks in the model must call `sink`.

    Attributes:
        usable: False once a step could not be recorded.
        spoiled: set by the decode loop after a text with NaN: rows without a text may have kept one.
    """

    def __init__(self, loaded: LoadedModel):
        self.loaded = loaded
        self.usable = True
        self.spoiled = False
        self._buffers: StepBuffers | None = None
        self._sites: tuple[str, ...] = ()
        self._pass_on: Sink | None = None
        self._recording = 0
        self._column = torch.zeros(1, dtype=torch.long, device=loaded.device)
        self._logits = torch.empty(0)
        self._states: dict[str, torch.Tensor] = {}
        self._graphs: dict[tuple[int, int, tuple[str, ...]], torch.cuda.CUDAGraph] = {}

    @torch.inference_mode()
    def prepare(self, rows: int, columns: int, sites: tuple[str, ...], pass_on: Sink | None) -> StepBuffers:
        """Buffers of at least this size, in which no column is attended to.

        Args:
            sites: that are read at every step.
            pass_on: takes the states of passes that are not steps, and those of every step for the rows in use.
        """
        rows, columns = rounded_rows(rows), _up(columns, _COLUMNS)
        if self._buffers is None or rows > len(self._buffers.mask) or columns > self._buffers.mask.shape[1]:
            self.forget()
            self._buffers = StepBuffers.allocate(self.loaded, rows, columns)
            self._logits = torch.empty(rows, self.loaded.vocab_size, device=self.loaded.device)
        self._buffers.mask.zero_()
        if self.spoiled:
            self._buffers.cache.clear()
            self.spoiled = False
        self._sites, self._pass_on = sites, pass_on
        return self._buffers

    def forget(self) -> None:
        """Give all memory back."""
        self._graphs, self._states, self._buffers = {}, {}, None
        self._logits = torch.empty(0)

    def sink(self, site: str, hidden: torch.Tensor) -> None:
        """Called by hooks with [batch, tokens, width]."""
        if self._recording:
            if site not in self._states:
                shape = (len(self._logits), hidden.shape[-1])
                self._states[site] = torch.zeros(shape, dtype=hidden.dtype, device=hidden.device)
            self._states[site][: self._recording] = hidden[:, -1]
        elif self._pass_on is not None:
            self._pass_on(site, hidden)

    def step(self, active: int, column: int) -> torch.Tensor:
        """Forward the newest token of the first `active` rows, which goes to `column`; returns logits float32
        [active, vocabulary], which hold until the next step.

        Raises:
            NotRecordable: this model's steps cannot be recorded; nothing has changed but `column`, to be done again.
        """
        assert self._buffers is not None
        rows, columns = rounded_rows(active), _up(column + 1, _COLUMNS)
        self._column.fill_(column)
        # Rows without a text must not come to hold a NaN, which a later text there would multiply by a zero weight and
        # keep: they attend to something, and read a token that a text reads too.
        self._buffers.mask[:rows, column] = 1
        if rows > active:
            self._buffers.next_token[active:rows] = self._buffers.next_token[0]
        if self.loaded.device.type == "cuda":
            self._graph(rows, columns).replay()
        else:
            self._pass(rows, columns)
        if self._pass_on is not None:
            for site in self._sites:
                self._pass_on(site, self._states[site][:active, None])
        return self._logits[:active]

    def _graph(self, rows: int, columns: int) -> torch.cuda.CUDAGraph:
        key = (rows, columns, self._sites)
        if key not in self._graphs:
            try:
                self._pass(rows, columns)  # Kernels are loaded and workspaces made before anything is recorded.
                graph = torch.cuda.CUDAGraph()
                pool = next(iter(self._graphs.values())).pool() if self._graphs else None
                # Threads that write earlier shards may use the GPU's driver meanwhile.
                with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                    self._pass(rows, columns)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self.usable = False
                logger.warning(
                    "steps of %s cannot be recorded as CUDA graphs (%s): each kernel is launched by itself",
                    type(self.loaded.model).__name__,
                    str(error).splitlines()[0],
                )
                raise NotRecordable from error
            self._graphs[key] = graph
        return self._graphs[key]

    def _pass(self, rows: int, columns: int) -> None:
        buffers = self._buffers
        assert buffers is not None
        window = buffers.cache.window
        window.row_start, window.row_stop, window.start, window.write = 0, rows, 0, columns - 1
        window.column, self._recording = self._column, rows
        try:
            with decoding_attention(self.loaded):
                self._logits[:rows] = last_logits(
                    self.loaded,
                    buffers.cache,
                    buffers.next_token[:rows, None],
                    buffers.mask[:rows, :columns],
                    buffers.position[:rows, None],
                )
        finally:
            window.column, self._recording = None, 0


class NotRecordable(Exception):  # noqa: N818 - a signal to go on the other way
    """Something in the model waits for the GPU within a step."""


def can_be_fixed(loaded: LoadedModel) -> bool:
    """Whether a model's steps may be replayed: all on one GPU, in its own numbers, attending to every column.

    transformers marks the models whose passes have fixed shapes inside (no routing by the values, for one).
    """
    model, config = loaded.model, loaded.model.config.get_text_config()
    rotation = getattr(config, "rope_parameters", None)
    kind = rotation.get("rope_type") if isinstance(rotation, Mapping) else None
    return (
        loaded.device.type == "cuda"
        and loaded.attention == "sdpa"
        and loaded.layout.blocks is not None
        and has_fixed_shapes(model)
        and not getattr(model, "is_quantized", False)
        and all(parameter.device == loaded.device for parameter in model.parameters())
        and all(type(layer) is DynamicLayer for layer in cache_layers(config))
        and kind in _FIXED_ROTATIONS
    )


def rounded_rows(rows: int) -> int:
    """The rows of a step for so many texts.

    Example:
        >>> [rounded_rows(n) for n in (1, 8, 9, 33, 64, 65, 256)]
        [8, 8, 32, 64, 64, 128, 256]
    """
    return next((few for few in _SMALL_ROWS if rows <= few), _up(rows, _ROWS))


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
