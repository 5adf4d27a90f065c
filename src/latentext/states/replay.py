"""States of texts that exist: one pass over prompt + completion from their token ids.

Texts are right-padded, so that causal attention alone keeps padding out and no mask is needed; only the base model
runs, and it stops after the deepest wanted site. Which texts share a pass depends on the texts of the shard only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from latentext.request import StateRows
from latentext.spec import StatesSpec
from latentext.states.host import HostCopies, changing_shapes
from latentext.states.layout import ModelLayout, SitesReached, check_shape, reading, shared_passes
from latentext.states.pooling import given_entropies, pool_rows
from latentext.states.rounding import ComponentScales
from latentext.states.rows import label_rows, row_positions
from latentext.states.sites import sites_up_to

REPLAY_TOKENS = 8_192
"""Tokens, padding included, that one pass takes at most; a longer text has a pass of its own."""

_SCALE_DTYPE = torch.bfloat16
"""Two digits of a scale are enough, and there are as many scales as states."""


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
    _check_entropies(texts, states)
    for group in _groups(layout, texts, tokens_per_pass):
        for rows, _ in _replay_pass(layout, group, states, sites, dtype, with_scales=False):
            yield rows


def replay_with_scales(
    layout: ModelLayout, texts: Sequence[WrittenText], states: StatesSpec, sites: tuple[str, ...], *, dtype: torch.dtype
) -> Iterator[tuple[StateRows, Mapping[str, torch.Tensor]]]:
    """The same, with the scale of every component (`states.rounding`), by tensor, in the shape of the rows.

    A pooled row has the scales of its rows, pooled.
    """
    _check_entropies(texts, states)
    for group in _groups(layout, texts, REPLAY_TOKENS):
        yield from _replay_pass(layout, group, states, sites, dtype, with_scales=True)


def _check_entropies(texts: Sequence[WrittenText], states: StatesSpec) -> None:
    """Refuse texts without entropies before the first pass, not in the middle of the work."""
    if "entropy_mean" in states.pool:
        for text in texts:
            given_entropies(text.entropies)


def _groups(layout: ModelLayout, texts: Sequence[WrittenText], tokens_per_pass: int) -> Iterator[list[WrittenText]]:
    """Texts that may share a pass and do, the longest first."""
    for alike in shared_passes(layout, texts, lambda text: text.length):
        yield from _passes(alike, tokens_per_pass)


def _passes(texts: Sequence[WrittenText], tokens_per_pass: int) -> Iterator[list[WrittenText]]:
    waiting = sorted(texts, key=lambda t: -t.length)
    while waiting:
        count = max(1, tokens_per_pass // max(1, waiting[0].length))
        yield waiting[:count]
        del waiting[:count]


class _Kept:
    """The wanted rows of each text of a pass, by tensor, pooled where the states are."""

    def __init__(self, group: Sequence[WrittenText], states: StatesSpec, copies: HostCopies):
        self._group, self._pools, self._copies = group, states.pool, copies
        self.pooled = states.pool != ("none",)
        positions = "generated" if self.pooled else states.positions
        self.positions = [row_positions(positions, len(t.prompt_token_ids), len(t.token_ids)) for t in group]
        self.by_text: list[dict[str, torch.Tensor]] = [{} for _ in group]

    def take(self, site: str, values: torch.Tensor, dtype: torch.dtype) -> None:
        """Keep what is wanted of [batch, tokens, width]."""
        for row, (text, where) in enumerate(zip(self._group, self.positions, strict=True)):
            rows = values[row, where.start : where.stop]
            if not self.pooled:
                self.by_text[row][site] = self._copies.take(rows, dtype)
                continue
            entropies = None if text.entropies is None else torch.tensor(text.entropies)
            for pool in self._pools:
                self.by_text[row][f"{site}:{pool}"] = self._copies.take(pool_rows(pool, rows, entropies), dtype)


@torch.inference_mode()
def _replay_pass(
    layout: ModelLayout,
    group: list[WrittenText],
    states: StatesSpec,
    sites: tuple[str, ...],
    dtype: torch.dtype,
    *,
    with_scales: bool,
) -> list[tuple[StateRows, Mapping[str, torch.Tensor]]]:
    copies = HostCopies()
    kept, kept_scales = _Kept(group, states, copies), _Kept(group, states, copies)
    scales = ComponentScales([text.length for text in group])

    def sink(site: str, hidden: torch.Tensor) -> None:
        check_shape(site, hidden, len(group), group[0].length)
        if with_scales:
            scale = scales.at(site, hidden)
            if site in sites:
                kept_scales.take(site, scale, _SCALE_DTYPE)
        if site in sites:
            kept.take(site, hidden, dtype)

    device = next(layout.base.parameters()).device
    token_ids = torch.zeros(len(group), group[0].length, dtype=torch.long)
    for row, text in enumerate(group):
        token_ids[row, : text.length] = torch.tensor([*text.prompt_token_ids, *text.token_ids])
    read = sites_up_to(sites, layout.num_blocks, unnormed=layout.blocks is not None) if with_scales else sites
    try:
        with reading(layout, read, sink, stop=True), changing_shapes(device):
            layout.base(input_ids=token_ids.to(device), use_cache=False)
    except SitesReached:
        pass
    copies.wait()
    labelled = [
        label_rows(
            text.index,
            text.sample,
            row_positions("last", len(text.prompt_token_ids), len(text.token_ids)) if kept.pooled else where,
            text.prompt_token_ids,
            text.token_ids,
            {name: tensors[name] for name in _names(sites, states)},
        )
        for text, where, tensors in zip(group, kept.positions, kept.by_text, strict=True)
    ]
    return list(zip(labelled, kept_scales.by_text, strict=True))


def _names(sites: tuple[str, ...], states: StatesSpec) -> list[str]:
    if states.pool == ("none",):
        return list(sites)
    return [f"{site}:{pool}" for site in sites for pool in states.pool]
