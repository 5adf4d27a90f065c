"""A random model with one massive component in its residual stream, ready for the engine."""

from __future__ import annotations

from functools import cache

from benchmarks.shapes import MASSIVE, massive_model
from tests.engines.families import EOS, VOCABULARY, loaded_model
from transformers import LlamaForCausalLM

from latentext.engines.transformers.loading import LoadedModel

__all__ = ["MASSIVE", "loaded_massive_llama", "massive_llama"]


def massive_llama() -> LlamaForCausalLM:
    """The model, with the vocabulary of the byte tokenizer."""
    return massive_model(VOCABULARY)


@cache
def loaded_massive_llama() -> LoadedModel:
    """The same, loaded once."""
    return loaded_model(massive_llama(), eos=(EOS,))
