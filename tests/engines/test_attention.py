"""Attention of one token a text gives what transformers' own attention gives, and only where it is meant to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.engines.families import loaded_family, loaded_model, random_model
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from latentext.engines.transformers.attention import decoding_attention, one_token_attention, shared_head_attention

BATCH, HEADS, COLUMNS, WIDTH = 5, 6, 23, 8


def _inputs(key_heads: int, tokens: int) -> dict[str, Any]:
    """Keys and values as views into longer buffers, as the cache hands them out."""
    generator = torch.Generator().manual_seed(4)
    module = torch.nn.Module()
    module.num_key_value_groups = HEADS // key_heads  # type: ignore[assignment]
    buffers = (torch.randn(BATCH + 2, key_heads, COLUMNS + 9, WIDTH, generator=generator) for _ in range(2))
    key, value = (buffer[1 : BATCH + 1, :, 4 : COLUMNS + 4] for buffer in buffers)
    query = torch.randn(BATCH, tokens, HEADS, WIDTH, generator=generator).transpose(1, 2)
    return {"module": module, "query": query, "key": key, "value": value}


def _masks() -> dict[str, torch.Tensor | None]:
    allowed = torch.arange(COLUMNS)[None, None, None, :] >= torch.arange(BATCH)[:, None, None, None]
    added = torch.zeros(BATCH, 1, 1, COLUMNS).masked_fill(~allowed, torch.finfo(torch.float32).min)
    slopes = torch.arange(COLUMNS) * torch.linspace(-0.1, 0.1, HEADS)[:, None]
    return {"none": None, "boolean": allowed, "added": added, "each head its own": added + slopes[None, :, None, :]}


@pytest.mark.parametrize("key_heads", [1, 2, 6])
@pytest.mark.parametrize("mask", ["none", "boolean", "added", "each head its own"])
@pytest.mark.parametrize("scaling", [None, 0.5])
@pytest.mark.parametrize("tokens", [1, 2])
@pytest.mark.parametrize("attention", [one_token_attention, shared_head_attention])
def test_it_is_what_transformers_computes(
    attention: Callable[..., Any], key_heads: int, mask: str, scaling: float | None, tokens: int
) -> None:
    given = {**_inputs(key_heads, tokens), "attention_mask": _masks()[mask], "scaling": scaling}
    expected, _ = sdpa_attention_forward(**given)
    found, _ = attention(**given)
    assert found.shape == expected.shape == (BATCH, tokens, HEADS, WIDTH)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_it_stands_in_the_registry_only_inside_the_block_and_only_for_float32() -> None:
    loaded = loaded_family("llama")
    assert loaded.attention == "sdpa"
    with pytest.raises(ZeroDivisionError), decoding_attention(loaded):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is one_token_attention
        _ = 1 / 0
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa_attention_forward
    with decoding_attention(loaded_model(random_model("llama", dtype=torch.bfloat16))):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa_attention_forward
