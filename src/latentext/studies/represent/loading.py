"""A model and tokenizer as scripts hand them over: names, or objects that are in memory already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model, loaded_from
from latentext.errors import ArgumentError, SpecError
from latentext.models.resolve import ModelSource, resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.spec import TINY, ModelSpec


def model_and_engine(model: Any, tokenizer: Any = None) -> tuple[ModelSpec, TransformersEngine | None]:
    """What a spec says of the model, and an engine where the objects are there or do not come from one name.

    A model that comes by name alone is loaded when it is needed: a finished dataset does not need it.

    Args:
        model: a name (see `latentext.spec.ModelSpec`) or a loaded causal language model.
        tokenizer: a name, a loaded tokenizer, or None for the model's own.

    Raises:
        ArgumentError: an object that is neither, or a model whose weights lie nowhere.
    """
    if model is None or isinstance(model, int):
        raise ArgumentError(f"model is {model!r}", remedy="give a name or a loaded model")
    if isinstance(model, str | Path):
        spec = ModelSpec(name=str(model))
        if tokenizer is None or str(tokenizer) == str(model):
            return spec, None
        loaded = load_model(spec)
        return spec, TransformersEngine(_with_tokenizer(loaded, _tokenizer(tokenizer)))
    source = _source(model)
    loaded = loaded_from(model, _tokenizer(source.name if tokenizer is None else tokenizer), source)
    return _spec_of(loaded), TransformersEngine(loaded)


def _tokenizer(tokenizer: Any) -> Any:
    if isinstance(tokenizer, str | Path):
        return load_tokenizer(str(tokenizer))
    if not callable(getattr(tokenizer, "apply_chat_template", None)):
        what = f"tokenizer is a {type(tokenizer).__name__}"
        raise ArgumentError(what, remedy="give a name or a tokenizer of transformers; the order is tokenizer, model")
    return tokenizer


def _with_tokenizer(loaded: LoadedModel, tokenizer: Any) -> LoadedModel:
    other = loaded_from(loaded.model, tokenizer, loaded.source)
    return replace(other, device=loaded.device)


def _source(model: Any) -> ModelSource:
    """Where the weights of a loaded model come from: they are what a dataset is known by when it is continued."""
    if not hasattr(model, "get_output_embeddings"):
        what = f"model is a {type(model).__name__}"
        raise ArgumentError(what, remedy="give a name or a causal language model; the order is tokenizer, model")
    name = str(getattr(model, "name_or_path", "") or "")
    tiny = resolve_model(TINY)
    if name == tiny.path_or_id:
        return tiny
    try:
        return resolve_model(name)
    except SpecError as error:
        raise ArgumentError(
            "the model was not loaded from a folder or by name, so nothing tells its weights from others",
            remedy="model.save_pretrained(FOLDER), and load it from there",
        ) from error


def _spec_of(loaded: LoadedModel) -> ModelSpec:
    """A spec that would load the same: what a loaded model has otherwise than by default is written down."""
    devices = getattr(loaded.model, "hf_device_map", None) or {}
    return ModelSpec.model_validate(
        {
            "name": loaded.source.name,
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "device": loaded.device.type,
            "device_map": "auto" if len(set(devices.values())) > 1 else None,
            "attention": loaded.attention if loaded.attention in ("eager", "flash_attention_2") else "auto",
        }
    )
