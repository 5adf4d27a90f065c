"""A real model made to write a given text: its head answers the last token with a fixed next one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from tests.engines.families import VOCABULARY, random_model


def scripted_model(successors: dict[int, int]) -> Any:
    """A Llama whose most probable next token depends on the last token only.

    Blocks add nothing to the residual stream, and embeddings and head are one-hot, so the logits are the successor's.
    """
    model = random_model("llama")
    width = model.config.hidden_size
    codes = torch.nn.functional.normalize(torch.randn(VOCABULARY, width, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(codes)
        model.model.norm.weight.fill_(1.0)
        model.lm_head.weight.zero_()
        for token, following in successors.items():
            model.lm_head.weight[following] += codes[token]
    return model


def chain(*texts: bytes | Sequence[int]) -> dict[int, int]:
    """Successors that spell the parts one after the other; every token may occur once."""
    tokens = [token for text in texts for token in text]
    assert len(set(tokens)) == len(tokens)
    return dict(pairwise(tokens))
