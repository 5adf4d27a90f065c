"""What latentext uses of transformers' models beyond the documented interface.

* *Caches.* `SlabCache` (engines/transformers/cache.py) extends the classes of ``transformers.cache_utils``.
* *The cache argument.* A forward pass takes the cache as ``cache``; up to 5.23 it was ``past_key_values``, and custom
  code of a model may keep the old name. `cache_argument` asks the model.
* *Attention.* `replaced_attention` changes an entry of the registry that models look their attention up in.
* *Configurations.* Attributes that differ from block to block (`block_configs`), and the length beyond which rotations
  are other ones (`longrope_length`).
* *Flags of models.* ``_is_stateful``, ``_can_compile_fullgraph``, ``_attn_implementation``.

* *Templates.* How a chat is rendered, and what a template may raise.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from jinja2.exceptions import TemplateError, TemplateRuntimeError

from latentext.libraries.changed import changed, installed

try:
    from transformers.cache_utils import (
        Cache,
        CacheLayerMixin,
        DynamicCache,
        DynamicLayer,
        DynamicSlidingWindowLayer,
        LinearAttentionCacheLayerMixin,
    )
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.pytorch_utils import Conv1D
except ImportError as error:
    raise changed("transformers", error) from error

__all__ = ["Cache", "CacheLayerMixin", "Conv1D", "DynamicLayer", "DynamicSlidingWindowLayer", "sdpa_attention_forward"]

logger = logging.getLogger(__name__)

_CACHE_ARGUMENTS = ("cache", "past_key_values")
"""Names under which models take their cache, the newest first."""


def cache_argument(forward: Callable[..., Any]) -> str | None:
    """The name of the argument by which a model's ``forward`` takes a cache; None if it takes none.

    Example:
        >>> cache_argument(lambda input_ids, past_key_values=None: None)
        'past_key_values'
    """
    taken = inspect.signature(forward).parameters
    return next((name for name in _CACHE_ARGUMENTS if name in taken), None)


def cache_layers(config: Any) -> list[Any]:
    """The layers of transformers' own cache for a model: their classes say what each block remembers."""
    return list(DynamicCache(config=config).layers)


def remembers(layer: Any) -> bool:
    """Whether a layer of transformers' own cache holds anything; blocks that share another's keys hold nothing."""
    return isinstance(layer, (CacheLayerMixin, LinearAttentionCacheLayerMixin))


def check_layer_class(layer: type[Any]) -> None:
    """Raise if transformers asks more of a cache layer than `layer` has.

    Raises:
        EngineError: a method of the interface is missing in `layer`.
    """
    if unfilled := sorted(getattr(layer, "__abstractmethods__", ())):
        raise changed("transformers", f"its cache layers need a method {unfilled[0]}")


def block_configs(config: Any) -> list[Any]:
    """The configuration of each block: the model's own, where its blocks are alike.

    Where head sizes differ from block to block (Gemma 4), transformers refuses to name one for the whole model.
    """
    blocks = range(int(config.num_hidden_layers))
    if (per_block := getattr(config, "per_layer_config", None)) is None:
        return [config for _ in blocks]
    try:
        return [per_block[block] for block in blocks]
    except (KeyError, IndexError, TypeError) as error:
        raise changed("transformers", f"per_layer_config of {type(config).__name__}: {error}") from error


def longrope_length(config: Any) -> int | None:
    """The number of tokens up to which a LongRoPE model (Phi-3.5, Phi-4-mini) rotates by its short factors; else None.

    A longer text makes the model rotate *every* text of its batch by the long factors.

    Example:
        >>> from transformers import LlamaConfig
        >>> longrope_length(LlamaConfig()) is None
        True
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [parameters, *(kind for kind in parameters.values() if isinstance(kind, dict))]
    for kind in kinds:
        if kind.get("rope_type") == "longrope":
            length = kind.get("original_max_position_embeddings")
            return int(length or config.original_max_position_embeddings)
    return None


def is_stateful(model: Any) -> bool:
    """Whether a model keeps a recurrent state.

    transformers marks families; a model of one (dense Granite 4) may have attention blocks alone.

    Raises:
        EngineError: transformers no longer marks such models.
    """
    if not _flag(model, "_is_stateful"):
        return False
    kinds = [str(kind) for kind in getattr(model.config.get_text_config(), "layer_types", None) or ()]
    return not kinds or any(not kind.endswith("attention") or "linear" in kind for kind in kinds)


def has_fixed_shapes(model: Any) -> bool:
    """Whether transformers says that a pass has the same shapes inside whatever the values are.

    A model without the mark takes its steps one kernel at a time, which is slower.
    """
    return bool(getattr(model, "_can_compile_fullgraph", False))


def attention_name(config: Any) -> str:
    """The attention that a model was loaded with: ``sdpa``, ``eager``, ``flash_attention_2`` and others.

    Raises:
        EngineError: transformers no longer tells.
    """
    return str(_flag(config, "_attn_implementation"))


def _flag(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise changed("transformers", f"{type(owner).__name__} has no {name}") from error


@contextmanager
def replaced_attention(own: Callable[..., Any]) -> Iterator[None]:
    """Let models that ask for ``sdpa`` attend by `own` inside the ``with`` block, if transformers still allows it.

    Else they attend by transformers' own function, which is slower.
    """
    if not _registry_can_be_changed():
        yield
        return
    ALL_ATTENTION_FUNCTIONS["sdpa"] = own
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = sdpa_attention_forward


@cache
def _registry_can_be_changed() -> bool:
    """Whether a model would find a function that is put into the registry, and the original after it."""

    def probe() -> None: ...

    found = []
    try:
        for function in (probe, sdpa_attention_forward):
            ALL_ATTENTION_FUNCTIONS["sdpa"] = function
            found.append(ALL_ATTENTION_FUNCTIONS.get_interface("sdpa", None))
    except (TypeError, AttributeError, KeyError):
        pass
    if found == [probe, sdpa_attention_forward]:
        return True
    logger.warning(
        "the attention registry of transformers %s has changed: texts are written with its own attention, more slowly",
        installed("transformers"),
    )
    return False


try:
    from transformers.utils.chat_template_utils import render_jinja_template
except ImportError as error:
    raise changed("transformers", error) from error


def render_chat(
    template: str, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool, variables: Mapping[str, Any]
) -> str:
    """A conversation as a chat template writes it.

    Args:
        variables: what the template reads beside the messages, such as ``bos_token``.

    Raises:
        jinja2.exceptions.TemplateError: the template refuses the conversation, or fails at it in any other way.
        EngineError: transformers renders in another way now.
    """
    conversation = [dict(message) for message in messages]
    try:
        rendered = render_jinja_template(
            [conversation], chat_template=template, add_generation_prompt=add_generation_prompt, **variables
        )
    except TemplateError:
        raise
    except Exception as error:  # What the template's own code raises: it may do anything with the messages.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise changed("transformers", f"render_jinja_template: {error}") from error
        raise TemplateRuntimeError(f"{type(error).__name__}: {error}") from error
    match rendered:
        case ([str(text)], *_):
            return text
    raise changed("transformers", "render_jinja_template returns no text per conversation")


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
