"""Where a model keeps its blocks, found by structure instead of by module names, and checked against the model itself.

The blocks are the one ``ModuleList`` of ``num_hidden_layers`` modules inside the base model. This holds for Llama,
Mistral, Qwen, Gemma, GPT-2, OPT, GPT-NeoX, Phi, Mixtral and most others. Whether hooks there see what
``output_hidden_states`` reports is checked on a few tokens when the model is loaded; a model that fails is read
through that output instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from latentext.states.sites import all_sites, block_of, index_of

Sink = Callable[[str, torch.Tensor], None]
"""Receives (site, hidden states [batch, tokens, width]) during a forward pass; must not keep a reference."""


class SitesReached(Exception):  # noqa: N818 - a signal, not an error
    """Raised inside a forward pass once the deepest wanted site has been read: the rest would be wasted."""


@dataclass(frozen=True)
class ModelLayout:
    """The base model, its blocks (None: read through ``output_hidden_states``), and the width of each kind of site."""

    base: nn.Module
    blocks: nn.ModuleList | None
    num_blocks: int
    widths: Mapping[str, int]

    def width(self, site: str) -> int:
        """Number of components of a state at this site."""
        return self.widths["resid_post"] if block_of(site) is not None else self.widths[site]


def find_layout(model: nn.Module, vocabulary: int) -> ModelLayout:
    """Find the blocks of a causal language model and check the hooks against ``output_hidden_states``."""
    base = model.base_model
    assert isinstance(base, nn.Module)
    num_blocks = int(model.config.get_text_config().num_hidden_layers)  # type: ignore[union-attr, operator]
    lists = [m for m in base.modules() if isinstance(m, nn.ModuleList) and len(m) == num_blocks]
    token_ids = torch.arange(1, 6, device=next(model.parameters()).device).remainder(vocabulary).unsqueeze(0)
    with torch.inference_mode():
        expected = base(input_ids=token_ids, output_hidden_states=True, use_cache=False).hidden_states
    names = all_sites(num_blocks)
    widths = {
        "embed": expected[0].shape[-1],
        "resid_post": expected[-2].shape[-1],
        "final_norm": expected[-1].shape[-1],
    }
    blocks = lists[0] if len(lists) == 1 else None
    layout = ModelLayout(base, blocks, num_blocks, widths)
    if blocks is not None and len(expected) == num_blocks + 1:
        seen: dict[str, torch.Tensor] = {}
        with torch.inference_mode(), reading(layout, names, lambda site, h: seen.update({site: h.clone()})):
            base(input_ids=token_ids, use_cache=False)
        if all(torch.equal(seen[name], expected[k]) for k, name in enumerate(names) if name in seen) and len(
            seen
        ) == len(names):
            return layout
    return ModelLayout(base, None, num_blocks, widths)


@contextmanager
def reading(layout: ModelLayout, sites: tuple[str, ...], sink: Sink, *, stop: bool = False) -> Iterator[None]:
    """Call `sink` with the states of `sites` during every forward pass inside the ``with`` block.

    With `stop`, the pass ends with `SitesReached` after the deepest site, so that deeper blocks are not computed.
    """
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

    def read(site: str, hidden: torch.Tensor) -> None:
        sink(site, hidden)
        if stop and site == deepest:
            raise SitesReached

    handles = []
    for site in sites:
        if site == "embed":
            handles.append(
                blocks[0].register_forward_pre_hook(
                    lambda _m, args, kwargs, s=site: read(s, args[0] if args else kwargs["hidden_states"]),
                    with_kwargs=True,
                )
            )
        elif site == "final_norm":
            handles.append(
                layout.base.register_forward_hook(lambda _m, _a, out, s=site: read(s, out.last_hidden_state))
            )
        else:
            block = blocks[block_of(site) or 0]
            handles.append(block.register_forward_hook(lambda _m, _a, out, s=site: read(s, _first_tensor(out))))
    return handles


def _hooks_on_output(layout: ModelLayout, sites: tuple[str, ...], sink: Sink) -> list[Any]:
    def ask(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "output_hidden_states": True, "return_dict": True}

    def read(_module: nn.Module, _args: Any, output: Any) -> None:
        for site in sites:
            sink(site, output.hidden_states[index_of(site, layout.num_blocks)])

    return [
        layout.base.register_forward_pre_hook(ask, with_kwargs=True),
        layout.base.register_forward_hook(read),
    ]


def _depth(site: str, num_blocks: int) -> int:
    block = block_of(site)
    return block + 1 if block is not None else (0 if site == "embed" else num_blocks + 1)


def _first_tensor(output: Any) -> torch.Tensor:
    tensor = output[0] if isinstance(output, tuple) else output
    assert isinstance(tensor, torch.Tensor)
    return tensor
