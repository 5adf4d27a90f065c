"""States of texts that exist: one pass over prompt + completion from their token ids.

Texts are right-padded, so that causal attention alone keeps padding out and no mask is needed; only the base model
runs, and it stops after the deepest wanted site. Which texts share a pass depends on the texts of the shard only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from latentext.request import StateRows
from latentext.spec import StatesSpec
from latentext.states.host import HostCopies
from latentext.states.kernels import changing_shapes
from latentext.states.layout import ModelLayout, SitesReached, check_shape, reading, shared_passes
from latentext.states.pooling import given_entropies, pool_rows
from latentext.states.rows import label_rows, row_positions

REPLAY_TOKENS = 8_192
"""Tokens, padding included, that one pass takes at most; a longer text has a pass of its own."""


@dataclass(frozen=True)
class WrittenText:
    """A text whose states are wanted; `entropies` [T] are needed for entropy-weighted pooling only."""

    index: int
    sample: int
    prompt_token_ids: Sequence[int]
    token_ids: Sequence[int]
    entropies: Sequence[float] | None = None

    @property
    def length(self) -> int:
        """Prompt and generated tokens."""
        return len(self.prompt_token_ids) + len(self.token_ids)


def replay(
    layout: ModelLayout,
    texts: Sequence[WrittenText],
    states: StatesSpec,
    sites: tuple[str, ...],
    *,
    dtype: torch.dtype,
    tokens_per_pass: int = REPLAY_TOKENS,
) -> Iterator[StateRows]:
    """Yield the rows of every text, as in-flight capture would have given them (longest texts first).

    Args:
        dtype: of the rows handed out.
        tokens_per_pass: bounds the memory of a pass.

    Raises:
        SpecError: a pooling by entropy of texts that were written without entropies.
    """
    if "entropy_mean" in states.pool:
        for text in texts:  # Before the first pass, not in the middle of the work.
            given_entropies(text.entropies)
    for alike in shared_passes(layout, texts, lambda text: text.length):
        for group in _passes(alike, tokens_per_pass):
            yield from _replay_pass(layout, group, states, sites, dtype)


def _passes(texts: Sequence[WrittenText], tokens_per_pass: int) -> Iterator[list[WrittenText]]:
    waiting = sorted(texts, key=lambda t: -t.length)
    while waiting:
        count = max(1, tokens_per_pass // max(1, waiting[0].length))
        yield waiting[:count]
        del waiting[:count]


@torch.inference_mode()
def _replay_pass(
    layout: ModelLayout, group: list[WrittenText], states: StatesSpec, sites: tuple[str, ...], dtype: torch.dtype
) -> list[StateRows]:
    pooled = states.pool != ("none",)
    positions = [
        row_positions("generated" if pooled else states.positions, len(t.prompt_token_ids), len(t.token_ids))
        for t in group
    ]
    kept: list[dict[str, torch.Tensor]] = [{} for _ in group]
    copies = HostCopies()

    def sink(site: str, hidden: torch.Tensor) -> None:
        check_shape(site, hidden, len(group), group[0].length)
        for row, (text, where) in enumerate(zip(group, positions, strict=True)):
            rows = hidden[row, where.start : where.stop]
            if not pooled:
                kept[row][site] = copies.take(rows, dtype)
                continue
            entropies = None if text.entropies is None else torch.tensor(text.entropies)
            for pool in states.pool:
                kept[row][f"{site}:{pool}"] = copies.take(pool_rows(pool, rows, entropies), dtype)

    device = next(layout.base.parameters()).device
    token_ids = torch.zeros(len(group), group[0].length, dtype=torch.long)
    for row, text in enumerate(group):
        token_ids[row, : text.length] = torch.tensor([*text.prompt_token_ids, *text.token_ids])
    try:
        with reading(layout, sites, sink, stop=True), changing_shapes(device):
            layout.base(input_ids=token_ids.to(device), use_cache=False)
    except SitesReached:
        pass
    copies.wait()
    return [
        label_rows(
            text.index,
            text.sample,
            row_positions("last", len(text.prompt_token_ids), len(text.token_ids)) if pooled else where,
            text.prompt_token_ids,
            text.token_ids,
            {name: tensors[name] for name in _names(sites, states)},
        )
        for text, where, tensors in zip(group, positions, kept, strict=True)
    ]


def _names(sites: tuple[str, ...], states: StatesSpec) -> list[str]:
    if states.pool == ("none",):
        return list(sites)
    return [f"{site}:{pool}" for site in sites for pool in states.pool]
