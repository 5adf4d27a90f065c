"""Which classes transformers has for a configuration: the tables behind its Auto classes, by ``model_type``."""

from __future__ import annotations

from typing import Any

from latentext.libraries.changed import changed

try:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )
except ImportError as error:
    raise changed("transformers", error) from error

_CAUSAL_UNMARKED = {"xlm", "flaubert", "reformer", "bart", "mbart", "mvp", "plbart"}
"""Kinds with a masked model too whose causal model is causal whatever ``is_decoder`` says, or has a mark of its own."""


def causal_class(config: Any) -> str | None:
    """The name of the class that ``AutoModelForCausalLM`` makes of a configuration; None if there is none.

    Example:
        >>> from transformers import LlamaConfig, T5Config
        >>> causal_class(LlamaConfig()), causal_class(T5Config())
        ('LlamaForCausalLM', None)
    """
    found = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    return None if found is None else str(found[0] if isinstance(found, tuple) else found)


def has_masked_class(config: Any) -> bool:
    """Whether models of this kind are encoders, which are causal only where the configuration says ``is_decoder``."""
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and config.model_type not in _CAUSAL_UNMARKED


DECODERS_OF_PAIRS = frozenset(
    (
        "bart",
        "bigbird_pegasus",
        "blenderbot",
        "blenderbot-small",
        "marian",
        "mbart",
        "mvp",
        "pegasus",
        "plbart",
        "trocr",
    )
)
"""Kinds whose causal class is the decoder of an encoder-decoder: they count padding as positions."""
