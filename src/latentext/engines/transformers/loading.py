"""From a `ModelSpec` to a model in memory, with all that the rest of the code asks of it settled once.

Device, dtype, attention, end tokens and context length are decided here and nowhere else, so that the provenance can
record them and a resumed run can be held to them.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from latentext.engines.transformers.cache import check_cacheable
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.soundness import check_soundness
from latentext.errors import EngineError, SpecError
from latentext.libraries.transformers.models import attention_name, block_configs
from latentext.models.deciding import end_token_ids
from latentext.models.pretrained import read_config, read_weights
from latentext.models.resolve import ModelSource, resolve_model
from latentext.phases import preparing
from latentext.prompts.tokenizer import load_tokenizer
from latentext.spec import ModelSpec
from latentext.states.layout import find_layout

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_NEEDS_GPU = ("gptq", "awq")


def load_model(spec: ModelSpec) -> LoadedModel:
    """Load the model and tokenizer that a spec names.

    Raises:
        SpecError: no such model, device or dtype; unreadable files.
        CredentialsError: the model is gated.
        EngineError: the weights do not load, do not fit, or belong to another configuration.

    Example:
        >>> loaded = load_model(ModelSpec(name="tiny"))
        >>> loaded.device.type, loaded.context_length
        ('cpu', 2048)
    """
    source = resolve_model(spec.name, spec.revision)
    with preparing(f"loading the model {spec.name}"):
        return _loaded(spec, source)


def _loaded(spec: ModelSpec, source: ModelSource) -> LoadedModel:
    device = choose_device(spec.device)
    tokenizer = load_tokenizer(source, trust_remote_code=spec.trust_remote_code)
    try:
        model, report = _read_weights(spec, source, device)
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"the weights do not fit on {device}",
            where=f"model {spec.name}",
            remedy="use a smaller dtype, another device, or model.device_map: auto",
            heading="Out of memory",
        ) from error
    _check_complete(model, report, spec.name)
    return loaded_from(model, tokenizer, source)


def _check_complete(model: Any, report: dict[str, Any], name: str) -> None:
    """Refuse weights that do not fill the model. transformers draws random numbers for the rest: texts would be noise.

    Raises:
        EngineError: naming the first weight.
    """
    kind, saved = type(model).__name__, (getattr(model.config, "architectures", None) or [None])[0]
    remedy = "weights and config.json belong to different models"
    if saved not in (None, kind):
        remedy = f"the files are of a {saved}, not of a {kind}: use a decoder-only language model"
    for problem in ("missing", "mismatched"):
        if bad := sorted(str(key) for key in report[f"{problem}_keys"]):
            what = f"{len(bad)} {problem} weights, first {bad[0]}"
            raise EngineError(what, where=f"model {name}", remedy=remedy)


def _read_weights(spec: ModelSpec, source: ModelSource, device: torch.device) -> tuple[Any, dict[str, Any]]:
    """The model on its device, and transformers' report on what was in the files.

    Quantised weights are put where they belong while they are read; they cannot be moved afterwards.
    """
    config = read_config(source, trust_remote_code=spec.trust_remote_code)
    layers = getattr(config.get_text_config(), "num_hidden_layers", 1)
    if layers < 1:
        what = f"config.json says that it has {layers} layers (num_hidden_layers)"
        raise SpecError(what, where=f"model {spec.name}", remedy="download the model again")
    stored = _stored_quantization(config)
    if stored in _NEEDS_GPU and device.type == "cpu":
        raise EngineError(
            f"its weights are stored as {stored}, which is read on a GPU only",
            where=f"model {spec.name}",
            remedy="choose another device, or the weights as they were before",
        )
    quantised = stored is not None or spec.quantization is not None
    device_map = spec.device_map or ({"": device} if quantised else None)
    model, report = read_weights(
        AutoModelForCausalLM,
        source,
        dtype=choose_dtype(spec, source, device),
        trust_remote_code=spec.trust_remote_code,
        attn_implementation=None if spec.attention == "auto" else spec.attention,
        device_map=device_map,
        quantization_config=_rounding(spec),
        ignore_mismatched_sizes=True,
    )
    return model if device_map is not None else model.to(device), report


def _rounding(spec: ModelSpec) -> BitsAndBytesConfig | None:
    """How the weights are rounded while they are loaded, if they are.

    Raises:
        SpecError: bitsandbytes is not installed.
    """
    if spec.quantization is None:
        return None
    if missing := [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]:
        raise SpecError(
            f"{missing[0]} is not installed",
            where=f"model.quantization: {spec.quantization}",
            remedy="pip install 'latentext[quantized]'",
        )
    four = spec.quantization == "bitsandbytes-4bit"
    return BitsAndBytesConfig(load_in_4bit=four, load_in_8bit=not four)


def _stored_quantization(config: Any) -> str | None:
    """The method by which the weights in the files are quantised, such as ``gptq``; None if they are not."""
    stored = getattr(config, "quantization_config", None) or {}
    method = stored.get("quant_method") if isinstance(stored, dict) else getattr(stored, "quant_method", None)
    return None if method is None else str(method)


def loaded_from(model: Any, tokenizer: Any, source: ModelSource) -> LoadedModel:
    """Wrap a model and tokenizer that are in memory already (a notebook's, or a test's random weights)."""
    model.eval()
    check_cacheable(model)
    config = model.config.get_text_config()
    eos = end_token_ids(getattr(model, "generation_config", None), config, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(eos, default=0)
    device = next(model.parameters()).device
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        layout=find_layout(model, config.vocab_size),
        source=source,
        device=device,
        dtype=next(model.parameters()).dtype,
        attention=attention_name(config),
        eos_token_ids=eos,
        pad_token_id=int(pad),
        context_length=_context_length(config),
        vocab_size=int(config.vocab_size),
    )
    check_soundness(loaded)
    return loaded


def choose_device(wanted: str) -> torch.device:
    """``auto`` is the first of cuda, mps, cpu that is there."""
    if wanted != "auto":
        try:
            device = torch.device(wanted)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise SpecError(
                f"device {wanted!r} is not available here", where="model.device", remedy="use auto or cpu"
            ) from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(spec: ModelSpec, source: ModelSource, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on a CPU (bf16 there is slower and less exact) and the checkpoint's own dtype elsewhere."""
    if spec.dtype != "auto":
        return _DTYPES[spec.dtype]
    if device.type == "cpu":
        return torch.float32
    config = read_config(source, trust_remote_code=spec.trust_remote_code)
    dtype = getattr(config.get_text_config(), "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.bfloat16


def _context_length(config: Any) -> int:
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if isinstance(value := getattr(config, name, None), int):
            return value
    return 1 << 30


def kv_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes of keys and values that one token of one text occupies, over all blocks.

    Raises:
        SpecError: the configuration does not say, as that of a model without attention.
    """
    numbers = 0
    try:
        for block in block_configs(config):
            heads = getattr(block, "num_key_value_heads", None) or config.num_attention_heads
            width = getattr(block, "head_dim", None) or config.hidden_size // config.num_attention_heads
            numbers += 2 * heads * width
    except (AttributeError, TypeError, ZeroDivisionError) as error:
        raise SpecError(
            f"the configuration of a {config.model_type} does not say how large its keys and values are: {error}",
            where="model",
            remedy="use a decoder-only language model of attention blocks",
        ) from error
    return int(numbers * dtype.itemsize)
