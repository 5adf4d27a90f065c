"""Where a model keeps its blocks, found by structure instead of by module names, and checked against the model itself.

The blocks are the one ``ModuleList`` of ``num_hidden_layers`` modules in the model. This holds for Llama,
Mistral, Qwen, Gemma, GPT-2, OPT, GPT-NeoX, Phi, Mixtral and most others. Whether hooks there see what
``output_hidden_states`` reports is checked on a few tokens when the model is loaded; a model that fails is read
through that output instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import nn

from latentext.errors import EngineError
from latentext.libraries.transformers.models import longrope_length
from latentext.states.sites import all_sites, block_of, index_of, label_of

Text = TypeVar("Text")

Sink = Callable[[str, torch.Tensor], None]
"""Receives (site, hidden states [batch, tokens, width]) during a forward pass; must not keep a reference."""


class SitesReached(Exception):  # noqa: N818 - a signal, not an error
    """Raised inside a forward pass once the deepest wanted site has been read: the rest would be wasted."""


@dataclass(frozen=True)
class ModelLayout:
    """Where to hook, and the width of each kind of site.

    `base` is the module that takes token ids and gives the final states. Without `blocks` it is asked for
    ``output_hidden_states``. Whoever reads the model, or decodes with it, holds `turn`: hooks of two threads would see
    each other's passes. Texts of up to `longrope_length` tokens and longer ones never share a pass (`shared_passes`).
    """

    base: nn.Module
    blocks: nn.ModuleList | None
    num_blocks: int
    widths: Mapping[str, int]
    longrope_length: int | None = None
    turn: threading.RLock = field(default_factory=threading.RLock, compare=False, repr=False)

    def width(self, site: str) -> int:
        """Number of components of a state at this site."""
        return self.widths["resid_post"] if block_of(site) is not None else self.widths[site]


def find_layout(model: nn.Module, vocabulary: int) -> ModelLayout:
    """Find the blocks of a causal language model and check the hooks against ``output_hidden_states``.

    Raises:
        EngineError: the model does not report hidden states at all.
    """
    config: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    num_blocks = int(config.num_hidden_layers)
    names = all_sites(num_blocks)
    for base, blocks in _candidates(model, num_blocks):
        layout = ModelLayout(base, blocks, num_blocks, {})
        seen, expected = _probe(model, layout, names, vocabulary)
        if seen.keys() != set(names) or len(expected) != len(names):
            continue
        _check_finite(model, names, expected)
        if all(torch.equal(seen[name], states) for name, states in zip(names, expected, strict=True)):
            width = {"embed": expected[0], "resid_post": expected[-2], "final_norm": expected[-1]}
            widths = {kind: states.shape[-1] for kind, states in width.items()}
            return replace(layout, widths=widths, longrope_length=longrope_length(config))
    raise EngineError(
        f"{type(model).__name__} does not report the hidden states of its {num_blocks} blocks",
        remedy="use a decoder-only language model",
    )


def shared_passes(layout: ModelLayout, texts: Iterable[Text], length: Callable[[Text], int]) -> list[list[Text]]:
    """Texts cut into those that may share a pass, each group in the order given; only LongRoPE models need more than
    one: one long text there changes how every text of the pass is rotated."""
    limit = layout.longrope_length
    groups: dict[bool, list[Text]] = {}
    for text in texts:
        groups.setdefault(limit is not None and length(text) > limit, []).append(text)
    return [groups[is_long] for is_long in (True, False) if is_long in groups]


def _check_finite(model: nn.Module, names: Sequence[str], states: Sequence[torch.Tensor]) -> None:
    """Refuse a model that gives NaN or infinity for a few ordinary tokens: all its texts and states would be noise.

    Raises:
        EngineError: it does, with the first site.
    """
    bad = next((name for name, found in zip(names, states, strict=True) if not found.isfinite().all()), None)
    if bad is None:
        return
    called = label_of(bad, len(names) - 1)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    remedy = "its weights hold NaN or infinity: download the model again"
    if dtype == "float16" and all(weight.isfinite().all() for weight in model.parameters()):
        remedy = "use bfloat16 or float32 (model.dtype)"
    raise EngineError(f"{type(model).__name__} gives states that are not finite in {dtype} at {called}", remedy=remedy)


def check_shape(site: str, hidden: torch.Tensor, batch: int, tokens: int) -> None:
    """See that a model hands on one row for every token of every text.

    Raises:
        EngineError: it does not, as models with several streams (Gemma 3n) or that skip positions.
    """
    if hidden.ndim != 3 or tuple(hidden.shape[:2]) != (batch, tokens):
        raise EngineError(
            f"the model's states at {site} have the shape {list(hidden.shape)}, not [{batch}, {tokens}, width]",
            where="states",
            remedy="do without states (--set states=null), or use another model",
            heading="Models that are refused",
        )


def _candidates(model: nn.Module, num_blocks: int) -> list[tuple[nn.Module, nn.ModuleList | None]]:
    """Where states may be read, the best first: hooks on blocks, then the output of the base model or of the whole.

    The final states leave the base model, except where the language model calls only a part of it (OPT's decoder).
    """
    whole = model.base_model
    assert isinstance(whole, nn.Module)
    owned = [
        (owner, child)
        for owner in whole.modules()
        for child in owner.children()
        if isinstance(child, nn.ModuleList) and len(child) == num_blocks
    ]
    hooked: list[tuple[nn.Module, nn.ModuleList | None]] = []
    if len(owned) == 1:
        owner, blocks = owned[0]
        hooked = [(whole, blocks), (owner, blocks)]
    return [*hooked, (whole, None), (model, None)]


def _probe(
    model: nn.Module, layout: ModelLayout, names: tuple[str, ...], vocabulary: int
) -> tuple[dict[str, torch.Tensor], tuple[torch.Tensor, ...]]:
    """What the hooks see and what the model reports, in one pass, so that equal means equal to the last bit."""
    token_ids = torch.arange(1, 6, device=next(model.parameters()).device).remainder(vocabulary).unsqueeze(0)
    seen: dict[str, torch.Tensor] = {}

    def keep(site: str, hidden: torch.Tensor) -> None:
        seen[site] = hidden.clone()

    try:
        with torch.inference_mode(), reading(layout, names, keep):
            output = model(input_ids=token_ids, output_hidden_states=True, use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Whatever a model of another kind raises when it is asked as a language model.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(
            f"{type(model).__name__} cannot read a few tokens and report their states: {reason}",
            remedy="use a decoder-only language model",
            heading="Models that are refused",
        ) from error
    return seen, tuple(getattr(output, "hidden_states", None) or ())


@contextmanager
def reading(layout: ModelLayout, sites: tuple[str, ...], sink: Sink, *, stop: bool = False) -> Iterator[None]:
    """Call `sink` with the states of `sites` during every forward pass inside the ``with`` block.

    With `stop`, the pass ends with `SitesReached` after the deepest site, so that deeper blocks are not computed.
    """
    with layout.turn:
        if layout.blocks is None:
            handles = _hooks_on_output(layout, sites, sink)
        else:
            handles = _hooks_on_blocks(layout, layout.blocks, sites, sink, stop)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _hooks_on_blocks(
    layout: ModelLayout, blocks: nn.ModuleList, sites: tuple[str, ...], sink: Sink, stop: bool
) -> list[Any]:
    deepest = max(sites, key=lambda s: _depth(s, layout.num_blocks))

    def read(site: str, passed: Any) -> None:
        hidden = passed if isinstance(passed, torch.Tensor) else passed[0]
        sink(site, hidden)
        if stop and site == deepest:
            raise SitesReached

    handles = []
    for site in sites:
        if site == "embed":
            handles.append(
                blocks[0].register_forward_pre_hook(
                    lambda _m, args, kwargs, s=site: read(s, args or kwargs["hidden_states"]),
                    with_kwargs=True,
                )
            )
        elif site == "final_norm":
            handles.append(layout.base.register_forward_hook(lambda _m, _a, out, s=site: read(s, out)))
        else:
            block = blocks[block_of(site) or 0]
            handles.append(block.register_forward_hook(lambda _m, _a, out, s=site: read(s, out)))
    return handles


def _hooks_on_output(layout: ModelLayout, sites: tuple[str, ...], sink: Sink) -> list[Any]:
    def ask(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "output_hidden_states": True, "return_dict": True}

    def read(_module: nn.Module, _args: Any, output: Any) -> None:
        if (states := getattr(output, "hidden_states", None)) is not None:
            for site in sites:
                sink(site, states[index_of(site, layout.num_blocks)])

    return [
        layout.base.register_forward_pre_hook(ask, with_kwargs=True),
        layout.base.register_forward_hook(read),
    ]


def _depth(site: str, num_blocks: int) -> int:
    block = block_of(site)
    return block + 1 if block is not None else (0 if site == "embed" else num_blocks + 1)
