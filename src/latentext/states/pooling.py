"""One vector a text, accumulated while the text is written, on the device, in float32.

`last` is the state at the last position P+T-2; `first` the one at the prompt's end, P-1; `mean`, `max` and
`entropy_mean` run over positions P … P+T-2, so the prompt's end is excluded. For T = 1 there is no such position and
all of them are the state at P-1 (a text with one token is flagged by its length). `entropy_mean` weighs each state by
the entropy of the distribution that the model predicted from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from latentext.errors import SpecError
from latentext.spec import Pool

Entropies = TypeVar("Entropies")


class SlotPool:
    """Running poolings of one site for a fixed number of slots; row 0 of a text starts its slot anew."""

    def __init__(self, pools: Sequence[Pool], slots: int, width: int, device: torch.device):
        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(*shape, dtype=torch.float32, device=device)

        self._first, self._last = zeros(slots, width), zeros(slots, width)
        self._sum = zeros(slots, width) if {"mean", "entropy_mean"} & set(pools) else None
        self._max = zeros(slots, width) if "max" in pools else None
        self._weighted = zeros(slots, width) if "entropy_mean" in pools else None
        self._weight = zeros(slots, 1)

    def begin(self, slots: torch.Tensor, states: torch.Tensor) -> None:
        """Take in row 0 (the state at the prompt's end) of new texts; states [batch, width]."""
        states = states.float()
        self._first[slots] = states
        self._last[slots] = states
        for total in (self._sum, self._weighted):
            if total is not None:
                total[slots] = 0.0
        self._weight[slots] = 0.0
        if self._max is not None:
            self._max[slots] = -torch.inf

    def add(self, slots: torch.Tensor, states: torch.Tensor, entropies: torch.Tensor | None) -> None:
        """Take in one later row of each text; entropies [batch] belong to the same rows.

        Raises:
            SpecError: they are missing, and a pooling needs them.
        """
        states = states.float()
        self._last[slots] = states
        if self._sum is not None:
            self._sum[slots] += states
        if self._max is not None:
            self._max[slots] = torch.maximum(self._max[slots], states)
        if self._weighted is not None:
            weight = given_entropies(entropies).float().unsqueeze(-1).to(states.device)
            self._weighted[slots] += weight * states
            self._weight[slots] += weight

    def read(self, slot: int, pool: Pool, generated_length: int) -> torch.Tensor:
        """The pooled state [1, width] in float32 of a text of T tokens."""
        rows = generated_length - 1
        if pool == "first" or rows == 0:
            result = self._first[slot]
        elif pool == "last":
            result = self._last[slot]
        elif pool == "max":
            assert self._max is not None
            result = self._max[slot]
        else:
            assert self._sum is not None
            result = self._sum[slot] / rows
            # Where the model was certain everywhere the weights vanish; the plain mean is the limit of equal weights.
            if pool == "entropy_mean" and self._weight[slot].item() > 0.0:
                assert self._weighted is not None
                result = self._weighted[slot] / self._weight[slot]
        return result.unsqueeze(0)


def pool_rows(pool: Pool, rows: torch.Tensor, entropies: torch.Tensor | None) -> torch.Tensor:
    """The same pooling from all generated rows [T, width] of one text at once (replay); float32 [1, width].

    Raises:
        SpecError: a pooling by entropy without the entropies [T].
    """
    rows = rows.float()
    weights = given_entropies(entropies)[1:].to(rows) if pool == "entropy_mean" else None
    if pool == "first" or len(rows) == 1:
        return rows[:1]
    if pool == "last":
        return rows[-1:]
    if pool == "max":
        return rows[1:].amax(0, keepdim=True)
    if weights is not None and weights.sum() > 0:
        return (weights[:, None] * rows[1:]).sum(0, keepdim=True) / weights.sum()
    return rows[1:].mean(0, keepdim=True)


def given_entropies(entropies: Entropies | None) -> Entropies:
    """The entropies that a pooling weighs by: the plain mean in their place would be another number under this name.

    Raises:
        SpecError: there are none.
    """
    if entropies is None:
        raise SpecError(
            "the texts have no entropies to weigh their states by",
            where="states.pool: entropy_mean",
            remedy="write them with decoding.entropy: true, or read the states in flight",
        )
    return entropies
