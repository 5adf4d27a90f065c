"""Models with random weights in given shapes: what benchmarks measure where the values of weights do not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, set_seed

SHAPES: dict[str, dict[str, int]] = {
    "tiny-random": {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 4, "num_attention_heads": 4},
    "8x256": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "num_attention_heads": 8},
    "12x768": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12},
    "llama-3.2-3b": {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128256,
    },
    "llama-3.1-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
"""Sizes by name; a shape without a vocabulary takes that of the tokenizer of `tiny`."""
END_EVERY = 48
"""In a saved model every 48th token ends a text, so that greedy texts end at many lengths."""


def random_model(shape: str, vocab_size: int, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
    """Random weights, the same for the same shape."""
    set_seed(0)
    sizes: dict[str, Any] = {"vocab_size": vocab_size, "max_position_embeddings": 4096, **SHAPES[shape]}
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            return LlamaForCausalLM(LlamaConfig(**sizes)).eval()
        finally:
            torch.set_default_dtype(before)


MASSIVE = 7
"""The component of `massive_model` that reaches several hundred where the usual one is about 10."""


def massive_model(vocab_size: int) -> LlamaForCausalLM:
    """A Llama whose second block writes one component thirty times as large as the others, as trained models do.

    Its down projections sum 1,408 terms, and its layers are large enough for packed weights.
    """
    set_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=256,
        initializer_range=0.08,
        tie_word_embeddings=False,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=vocab_size - 1,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[MASSIVE] *= 30
    return model


def save_random_model(shape: str, tokenizer: Any, folder: Path) -> Path:
    """The same on the disk in float32, with a tokenizer and many end tokens; made once.

    Example:
        >>> save_random_model("8x256", tokenizer, Path("build/peers/models/8x256"))  # doctest: +SKIP
    """
    done = folder / "complete"
    if not done.exists():
        model = random_model(shape, len(tokenizer), torch.device("cpu"), torch.float32)
        ends = list(range(END_EVERY, len(tokenizer), END_EVERY))
        model.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
        )
        model.config.eos_token_id, model.config.pad_token_id = ends, tokenizer.pad_token_id
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        done.touch()
    return folder
