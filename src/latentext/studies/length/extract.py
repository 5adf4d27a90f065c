"""The functions of the output-length experiments, for one prompt at a time in a notebook.

They are thin: prompts are formatted, texts generated and states read by the code that the recipes run on, so a row
made here is the row of a dataset. Layers are Hugging Face's ``hidden_states`` indices: 0 is the embedding, the last
(-1) is after the final norm. `latentext.export.saving.save_dataset` writes what they return.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypedDict, cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import load_model as load
from latentext.engines.transformers.loading import loaded_from
from latentext.errors import ArgumentError, PromptError
from latentext.finish_reasons import is_whole
from latentext.models.resolve import ModelSource
from latentext.plan.keys import request_key
from latentext.prompts.chat import ChatFormat
from latentext.prompts.templates import fields, fill
from latentext.prompts.token_text import token_text
from latentext.request import Failure, Message, Request
from latentext.spec import TINY, Decoding, ModelSpec, StatesSpec
from latentext.states.finite import nonfinite_states
from latentext.states.sites import all_sites, index_of, resolve_sites


class TokenMetadata(TypedDict):
    """The token that a state predicts."""

    token_id: int
    token_text: str


class LayersInfo(TypedDict):
    """Which layers the states are of; a layer without a Hugging Face index stands there by its site's name."""

    num_layers: int
    extracted_layers: list[int | str]
    hidden_dim_per_layer: int


class Extracted(TypedDict):
    """What `extract_hidden_states` returns."""

    hidden_states: npt.NDArray[Any]
    remaining_tokens: npt.NDArray[np.int64]
    token_metadata: list[TokenMetadata]
    total_generated: int
    layers_info: LayersInfo
    finish_reason: str


def apply_chat_template(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    remove_date_lines: bool = True,
    add_generation_prompt: bool = True,
    tokenize: bool = False,
) -> str | list[int]:
    """Messages as the prompt that the model reads: text, or with `tokenize` its ids with exactly one BOS.

    Raises:
        SpecError: the tokenizer has no chat template.
        PromptError: the template refuses the conversation.

    Example:
        >>> _, tokenizer = load_model("tiny")
        >>> apply_chat_template(tokenizer, [{"role": "user", "content": "Hello!"}]).split("Hello!")[1]
        '<|eot_id|><|start_header_id|>assistant<|end_header_id|>\\n\\n'
    """
    form = ChatFormat(
        remove_date_lines=remove_date_lines, add_generation_prompt=add_generation_prompt, closes_answers=True
    )
    text = form.render(tokenizer, messages)
    return form.encode(tokenizer, text) if tokenize else text


def generate_prompt(
    tokenizer: PreTrainedTokenizerBase,
    prompt_template: str,
    use_chat_template: bool = True,
    remove_date_lines: bool = True,
    **kwargs: Any,
) -> str:
    """A wording with its gaps filled from `kwargs`, as the prompt that the model reads.

    Raises:
        ArgumentError: a gap of the wording has no value.

    Example:
        >>> _, tokenizer = load_model("tiny")
        >>> generate_prompt(tokenizer, "Repeat {word} {count} times", use_chat_template=False, word="sun", count=3)
        'Repeat sun 3 times'
    """
    if missing := [name for name in fields(prompt_template) if name not in kwargs]:
        raise ArgumentError(f"no value for {{{missing[0]}}}", where=f"template {prompt_template!r}")
    form = ChatFormat(use_chat_template, remove_date_lines)
    return form.render(tokenizer, [{"role": "user", "content": fill(prompt_template, kwargs)}])


def load_model(
    model_name: str | None = None, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and its tokenizer; what is left out is chosen as in a spec (the built-in model, the best device).

    Raises:
        SpecError, CredentialsError, EngineError: as a run of a spec with this model.

    Example:
        >>> model, tokenizer = load_model()
        >>> model.config.vocab_size == len(tokenizer)
        True
    """
    wanted = "auto" if dtype is None else str(dtype).removeprefix("torch.")
    if wanted not in ("auto", "float32", "float16", "bfloat16"):
        raise ArgumentError(f"no dtype {wanted!r} for a model", remedy="use float32, float16 or bfloat16")
    where = "auto" if device is None else str(device)
    loaded = load(ModelSpec(name=model_name or TINY, device=where, dtype=cast(Any, wanted)))
    return loaded.model, loaded.tokenizer


def extract_hidden_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    max_new_tokens: int = 200,
    temperature: float = 0.0,
    layers_to_extract: int | str | Sequence[int | str] | None = None,
    extract_all_layers: bool = False,
    *,
    seed: int = 0,
) -> Extracted:
    """Generate a text, and keep the state that predicted each of its tokens.

    Args:
        prompt: as `generate_prompt` returns it.
        temperature: 0 is greedy.
        layers_to_extract: Hugging Face indices or names of sites, side by side in this order; the last by default.
        extract_all_layers: every layer from 0 to the last instead.
        seed: decides the draws where the temperature is above 0.

    Returns:
        ``hidden_states`` [T, layers · width] (float32; float16 where the model is), of which row s predicts generated
        token s; ``remaining_tokens`` [T], the tokens still to come after that one, 0 in the last row; its id and text
        in ``token_metadata``; ``total_generated`` T, ``layers_info``, ``finish_reason``. A text cut at the limit
        (``"length"``) warns: its remaining counts are to the cut, not to an end.

    Raises:
        ArgumentError: max_new_tokens or temperature is not usable, or no layer is asked for.
        SpecError: a layer that the model does not have.
        PromptError: the prompt is empty, leaves no room in the context, or gives numbers that are not finite.

    Example:
        >>> model, tokenizer = load_model("tiny")
        >>> prompt = generate_prompt(tokenizer, "Say {word} {count} times.", word="sun", count=2)
        >>> found = extract_hidden_states(model, tokenizer, prompt, max_new_tokens=40, layers_to_extract=[-1, 0])
        >>> found["hidden_states"].shape == (found["total_generated"], 2 * model.config.hidden_size)
        True
    """
    loaded = loaded_from(model, tokenizer, _source_of(model))
    num_blocks = loaded.layout.num_blocks
    sites = all_sites(num_blocks) if extract_all_layers else _sites(layers_to_extract, num_blocks)
    capture = Capture(StatesSpec(sites=sites), tuple(dict.fromkeys(sites)))
    decoding = _decoding(max_new_tokens, temperature)
    request = _request(tokenizer, prompt, decoding)
    (result,) = TransformersEngine(loaded).generate([request], range(1), decoding, seed, capture=capture, slots=1)
    if isinstance(result, Failure):
        raise PromptError(result.message, where="prompt")
    if result.states is not None and (failure := nonfinite_states(result.states, narrowed=False)) is not None:
        raise PromptError(failure.message, where="prompt")
    return _extracted(result, tokenizer, sites, num_blocks)


def _extracted(
    result: Generated, tokenizer: PreTrainedTokenizerBase, sites: Sequence[str], num_blocks: int
) -> Extracted:
    rows, completion = result.states, result.completion
    assert rows is not None  # The engine was asked for them.
    states = [_as_numpy(rows.tensors[site]) for site in sites]
    if not is_whole(completion.finish_reason):
        what = f"the text was cut after {len(completion.token_ids)} tokens: remaining_tokens count to the cut"
        warnings.warn(f"{what}; raise max_new_tokens, or leave this text out", stacklevel=3)
    texts = {token_id: token_text(tokenizer, token_id) for token_id in set(completion.token_ids)}
    return Extracted(
        hidden_states=np.concatenate(states, axis=1),
        remaining_tokens=rows.remaining.astype(np.int64),
        token_metadata=[TokenMetadata(token_id=i, token_text=texts[i]) for i in completion.token_ids],
        total_generated=len(completion.token_ids),
        layers_info=LayersInfo(
            num_layers=num_blocks + 1,
            extracted_layers=[site if (i := index_of(site, num_blocks)) is None else i for site in sites],
            hidden_dim_per_layer=states[0].shape[1],
        ),
        finish_reason=completion.finish_reason,
    )


def _sites(layers: int | str | Sequence[int | str] | None, num_blocks: int) -> tuple[str, ...]:
    """The site of each layer that is asked for; one that is asked for twice stands there twice."""
    asked = (-1,) if layers is None else (layers,) if isinstance(layers, (int, str)) else tuple(layers)
    if not asked:
        raise ArgumentError("layers_to_extract is empty", remedy="leave it out for the last layer")
    return tuple(site for layer in asked for site in resolve_sites([layer], num_blocks))


def _decoding(max_new_tokens: int, temperature: float) -> Decoding:
    if max_new_tokens < 1 or not temperature >= 0:
        raise ArgumentError(
            f"max_new_tokens {max_new_tokens}, temperature {temperature}", remedy="give at least 1 token, and 0 or more"
        )
    return Decoding(max_new_tokens=max_new_tokens, temperature=temperature)


def _request(tokenizer: PreTrainedTokenizerBase, prompt: str, decoding: Decoding) -> Request:
    token_ids = ChatFormat().encode(tokenizer, prompt)
    messages = [{"role": "user", "content": prompt}]
    return Request(0, request_key(token_ids, "", decoding, 0), {}, messages, prompt, token_ids)


def _source_of(model: PreTrainedModel) -> ModelSource:
    name = str(getattr(model, "name_or_path", "") or "model")
    return ModelSource(name, name, None, local=True)


def _as_numpy(states: torch.Tensor) -> npt.NDArray[Any]:
    """NumPy has no bfloat16: as in exports, float32 stands for it."""
    array: npt.NDArray[Any] = (states.float() if states.dtype == torch.bfloat16 else states).numpy()
    return array
