"""Attention of one new token a text, without a copy of the keys and values.

*On a CPU* torch's kernel for `scaled_dot_product_attention` makes two small matrix products for every (text, head);
with 256 texts in a step it took more than half of the time of a small model. Batched over texts and heads the same sums
take half of that. *On a GPU* transformers repeats keys and values for all query heads that share them, in every block
and step; here these heads go as further queries of one shared head. The cache's views are read in place: rows and heads
of a block lie at one stride.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from latentext.engines.transformers.loaded import LoadedModel
from latentext.libraries.transformers.models import replaced_attention, sdpa_attention_forward

Attention = Callable[..., tuple[torch.Tensor, None]]

_ANOTHER_FORMULA = ("position_bias", "softcap", "s_aux", "output_attentions", "cache")
"""Arguments under which attention is more than softmax(q·k) v: left to transformers."""


@contextmanager
def decoding_attention(loaded: LoadedModel) -> Iterator[None]:
    """Inside the ``with`` block, passes over one token a text attend as this file says.

    Only with transformers' ``sdpa`` attention, whose entry in its registry is replaced for that long: a name of our own
    would send models that ask for ``sdpa`` by name another way. All else goes as before.
    """
    own = _own_attention(loaded.device, loaded.dtype) if loaded.attention == "sdpa" else None
    if own is None:
        yield
        return
    with replaced_attention(own):
        yield


def _own_attention(device: torch.device, dtype: torch.dtype) -> Attention | None:
    if device.type == "cuda":
        return shared_head_attention
    return one_token_attention if (device.type, dtype) == ("cpu", torch.float32) else None


def _as_transformers_asks(attend: Callable[..., torch.Tensor]) -> Attention:
    """Attention as transformers' interface asks for it, which hands on what `attend` does not compute.

    `attend` gets queries [batch, heads, 1, width]; keys and values [batch, key heads, columns, width], each of which
    serves heads / key heads query heads; a mask [batch, 1 or heads, 1, columns], boolean (True: attend) or added to the
    scores, or None; and the scaling, or None. It returns [batch, 1, heads, width of value].
    """

    @functools.wraps(attend)
    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        if query.shape[2] != 1 or dropout or any(options.get(name) is not None for name in _ANOTHER_FORMULA):
            output, _ = sdpa_attention_forward(
                module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
            )
            return output, None
        return attend(query, key, value, attention_mask, scaling), None

    return attention


@_as_transformers_asks
def one_token_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float | None
) -> torch.Tensor:
    """Two products, batched over texts and heads."""
    batch, heads, _, width = query.shape
    scaled = query * (width**-0.5 if scaling is None else scaling)
    grouped = scaled.reshape(batch * key.shape[1], -1, width)
    scores = torch.bmm(grouped, key.flatten(0, 1).transpose(1, 2)).view(batch, heads, 1, -1)
    if mask is not None and mask.dtype == torch.bool:
        scores.masked_fill_(~mask, -torch.inf)
    elif mask is not None:
        scores += mask
    weights = scores.softmax(-1).view(batch * key.shape[1], -1, key.shape[2])
    return torch.bmm(weights, value.flatten(0, 1)).view(batch, 1, heads, -1)


@_as_transformers_asks
def shared_head_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float | None
) -> torch.Tensor:
    """torch's own kernels, with the query heads of one key head as its queries."""
    batch, heads, _, width = query.shape
    grouped = query.reshape(batch, key.shape[1], -1, width)
    if mask is not None and mask.shape[1] != 1:
        mask = mask.reshape(batch, key.shape[1], -1, mask.shape[-1])
    output = scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(batch, 1, heads, -1)
