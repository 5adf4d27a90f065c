"""States read while the texts are being written: hooks fill buffers that are allocated once.

The decode loop says before each forward pass which slots its rows belong to and which row of each text comes next;
the hooks copy the wanted states into place on the device. Nothing is copied to the host until a text is finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from latentext.request import Request, StateRows
from latentext.spec import StatesSpec
from latentext.states.host import HostCopies
from latentext.states.layout import ModelLayout, check_shape
from latentext.states.pooling import SlotPool
from latentext.states.rows import label_rows, most_rows, row_positions


@dataclass(frozen=True)
class _Prefill:
    """Where the prompts of a pass go: lists, since reading a tensor in a hook would wait for the device."""

    slots: list[int]
    source_rows: list[int]
    prompt_lengths: list[int]


class InflightCapture:
    """Buffers for the states of the texts in flight, one slot a text.

    Args:
        sites: resolved site names.
        slots: texts in flight at most.
        longest_prompt, max_new_tokens: bounds that fix the size of a slot.
        dtype: of the rows handed out.
    """

    def __init__(
        self,
        layout: ModelLayout,
        states: StatesSpec,
        sites: tuple[str, ...],
        *,
        slots: int,
        longest_prompt: int,
        max_new_tokens: int,
        dtype: torch.dtype,
    ):
        self.layout, self.states, self.sites, self.dtype = layout, states, sites, dtype
        self.pooled = states.pool != ("none",)
        self._slots = slots
        self._rows = most_rows(states.positions, longest_prompt, max_new_tokens)
        self._buffers: dict[str, torch.Tensor] = {}
        self._pools: dict[str, SlotPool] = {}
        self._latest: dict[str, torch.Tensor] = {}
        self._targets: torch.Tensor | None = None
        self._row_numbers = torch.empty(0, dtype=torch.long)
        self._prefill: _Prefill | None = None
        self._shape = (0, 0)

    def expect_prefill(self, slots: torch.Tensor, source_rows: list[int], prompt_lengths: list[int]) -> None:
        """The next pass reads prompts, right-aligned: slot i takes row `source_rows[i]` of the batch."""
        self._targets = slots
        self._shape = max(source_rows) + 1, max(prompt_lengths)
        self._prefill = _Prefill(slots.tolist(), source_rows, prompt_lengths)

    def expect_step(self, slots: torch.Tensor, steps: torch.Tensor, prompt_lengths: torch.Tensor) -> None:
        """The next pass reads one token of each slot's text; `steps` is the row s that each is at."""
        self._targets, self._prefill, self._shape = slots, None, (len(slots), 1)
        if self.states.positions == "generated":
            self._row_numbers = steps
        elif self.states.positions == "all":
            self._row_numbers = steps + prompt_lengths - 1

    def sink(self, site: str, hidden: torch.Tensor) -> None:
        """Called by the hooks with [batch, tokens, width]."""
        if self._targets is None:
            return  # A pass of somebody else, who runs the model between two of the texts handed out.
        check_shape(site, hidden, *self._shape)
        if self.pooled:
            # Pooling by entropy needs the logits of this very pass, which do not exist yet: wait for `after_logits`.
            source = hidden[:, -1] if self._prefill is None else hidden[self._prefill.source_rows, -1]
            self._latest[site] = source.clone()
            return
        buffer = self._buffer(site, hidden)
        if self._prefill is not None:
            self._store_prompts(buffer, hidden, self._prefill)
        elif self.states.positions in {"generated", "all"}:
            buffer[self._targets.to(hidden.device), self._row_numbers.to(hidden.device)] = hidden[:, -1]
        elif self.states.positions == "last":
            buffer[self._targets.to(hidden.device), 0] = hidden[:, -1]

    def after_logits(self, entropies: torch.Tensor | None) -> None:
        """Finish the pass: poolings take in the states read, with the entropies [batch] of their predictions."""
        assert self._targets is not None
        for site, states in self._latest.items():
            if site not in self._pools:
                self._pools[site] = SlotPool(self.states.pool, self._slots, states.shape[-1], states.device)
            slots = self._targets.to(states.device)
            if self._prefill is not None:
                self._pools[site].begin(slots, states)
            else:
                self._pools[site].add(slots, states, entropies)
        self._latest.clear()
        self._targets = None

    @property
    def bytes_a_text(self) -> int:
        """What `take` copies of a text at most."""
        rows = len(self.states.pool) if self.pooled else self._rows
        return rows * sum(self.layout.width(site) for site in self.sites) * self.dtype.itemsize

    def take(self, slot: int, request: Request, sample: int, token_ids: Sequence[int], copies: HostCopies) -> StateRows:
        """Copy the rows of a finished text to the host. Once `copies` were waited for they may be read, and the slot
        may be used again."""
        lengths = len(request.prompt_token_ids), len(token_ids)
        if self.pooled:
            tensors = {
                f"{site}:{pool}": copies.take(self._pools[site].read(slot, pool, lengths[1]), self.dtype)
                for site in self.sites
                for pool in self.states.pool
            }
            kept = row_positions("last", *lengths)
        else:
            kept = row_positions(self.states.positions, *lengths)
            tensors = {site: copies.take(self._buffers[site][slot, : len(kept)], self.dtype) for site in self.sites}
        return label_rows(request.index, sample, kept, request.prompt_token_ids, token_ids, tensors)

    def _buffer(self, site: str, hidden: torch.Tensor) -> torch.Tensor:
        if site not in self._buffers:
            shape = (self._slots, self._rows, hidden.shape[-1])
            self._buffers[site] = torch.zeros(shape, dtype=hidden.dtype, device=hidden.device)
        return self._buffers[site]

    def _store_prompts(self, buffer: torch.Tensor, hidden: torch.Tensor, prefill: _Prefill) -> None:
        if self.states.positions in {"generated", "first", "last"}:
            buffer[prefill.slots, 0] = hidden[prefill.source_rows, -1]
            return
        skip_last = self.states.positions == "prompt"
        for slot, row, length in zip(prefill.slots, prefill.source_rows, prefill.prompt_lengths, strict=True):
            kept = length - 1 if skip_last else length
            buffer[slot, :kept] = hidden[row, hidden.shape[1] - length :][:kept]
