"""What a run will make, said before it starts: requests, tokens, bytes on disk, memory.

Bounds, not guesses: every text is counted at its longest. The plan is made in a temporary folder, and of the model
only its configuration is read, so a dry run of a 70B model takes seconds on a laptop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from latentext.engines.opening import local_model, refuse_unsupported, required_local_model
from latentext.engines.transformers.engine import MOST_TEXTS_ON_CPU, state_dtype
from latentext.engines.transformers.loading import choose_device, choose_dtype, kv_bytes_per_token
from latentext.engines.transformers.usable import refuse_unusable
from latentext.models.catalogue import describe_model
from latentext.models.pretrained import read_config
from latentext.models.resolve import ModelSource, resolve_model
from latentext.plan import Plan, make_plan
from latentext.prompts.tokenizer import load_tokenizer
from latentext.run.length_limits import settle_length
from latentext.spec import Spec
from latentext.spec.limits import Limits
from latentext.states.sites import resolve_sites
from latentext.storage.atomic import temporary_folder

_RECORD_BYTES = 400
_BYTES_PER_TOKEN = 12
"""Of a record: text, ids and bookkeeping before compression, measured on English text."""


@dataclass(frozen=True)
class Estimate:
    """Upper bounds of what a run makes and needs; bytes are bytes, `cost` is in US dollars (None: nothing to pay)."""

    requests: int
    prompt_tokens: int
    max_new_tokens_total: int
    record_bytes: int
    state_bytes: int = 0
    model_bytes: int | None = None
    kv_cache_bytes: int = 0
    cost: float | None = None
    removed_dates: tuple[str, ...] = ()
    """Sentences of the chat template that prompts are made without."""
    left_out: tuple[str, ...] = ()
    """Columns of the input that the records will lack: JSON has no form for bytes and durations."""


def estimate(spec: Spec, limits: Limits | None = None) -> Estimate:
    """Plan a spec in a temporary folder and bound what it makes.

    Args:
        limits: caps on what requests to a server cost.

    Raises:
        SpecError: whatever would stop the run before its first token.
        EngineError: the engine cannot write texts with such a model, as its configuration tells.
    """
    refuse_unsupported(spec.model, spec.decoding, limits)
    here = local_model(spec.model) if spec.states is None else required_local_model(spec)
    tokenizer = None
    if here is not None:
        source = resolve_model(here.name, here.revision)
        if spec.model.engine == "transformers" or (spec.model.remote and spec.states is not None):
            refuse_unusable(source, trust_remote_code=here.trust_remote_code)
        tokenizer = load_tokenizer(source.path_or_id, source.revision, here.trust_remote_code)
    spec = settle_length(spec, None, tokenizer)
    with temporary_folder("plan") as folder:
        plan = make_plan(spec, tokenizer=tokenizer, model_id="", directory=folder, shard_size=spec.shard_size or 128)
    return bound(spec, plan)


def bound(spec: Spec, plan: Plan) -> Estimate:
    """Bound what a run of this plan makes; of the model only the configuration is read."""
    texts, longest = plan.count * spec.decoding.n, spec.decoding.max_new_tokens
    prompt_tokens = plan.prompt_tokens * spec.decoding.n
    made = Estimate(
        requests=plan.count,
        prompt_tokens=plan.prompt_tokens,
        left_out=plan.left_out,
        max_new_tokens_total=texts * longest,
        record_bytes=texts * _RECORD_BYTES + (prompt_tokens + texts * longest) * _BYTES_PER_TOKEN,
        removed_dates=plan.removed_dates,
    )
    if spec.model.remote:
        made = replace(made, cost=_cost(spec, plan, texts))
    here = local_model(spec.model)
    if here is None:
        return made
    source = resolve_model(here.name, here.revision)
    config = model_config(source, here.trust_remote_code)
    dtype = choose_dtype(here, source, choose_device(here.device))
    parameters = describe_model(here.name).parameters
    return replace(
        made,
        state_bytes=_state_bytes(spec, config, dtype, texts, prompt_tokens),
        model_bytes=None if parameters is None else parameters * dtype.itemsize,
        kv_cache_bytes=min(MOST_TEXTS_ON_CPU, texts)
        * (plan.longest_prompt + longest)
        * kv_bytes_per_token(config, dtype),
    )


def _cost(spec: Spec, plan: Plan, texts: int) -> float | None:
    """US dollars at most, where the model has a price."""
    from latentext.engines.server.bounds import output_bound, prompt_bound
    from latentext.engines.server.prices import price_of
    from latentext.engines.server.request_body import chat_body

    if (price := price_of(spec.model)) is None:
        return None
    frame = chat_body(spec.model, [{"role": "user", "content": ""}], spec.decoding)
    prompts = plan.prompt_tokens * spec.decoding.n + texts * prompt_bound(frame)
    batch = spec.model.engine == "openai-batch"
    return float(price.worst_cost(prompts, texts * output_bound(frame), batch=batch))


def model_config(source: ModelSource, trust_remote_code: bool) -> Any:
    """The configuration of the model's text part, without its weights.

    Raises:
        SpecError, CredentialsError: it cannot be had, or needs code that is not trusted.
    """
    return read_config(source, trust_remote_code=trust_remote_code).get_text_config()


def _state_bytes(spec: Spec, config: Any, dtype: torch.dtype, texts: int, prompt_tokens: int) -> int:
    if spec.states is None:
        return 0
    sites = len(resolve_sites(spec.states.sites, config.num_hidden_layers))
    generated = texts * spec.decoding.max_new_tokens
    rows = {
        "generated": generated,
        "prompt": prompt_tokens,
        "all": prompt_tokens + generated,
        "text": prompt_tokens + generated,
        "first": texts,
        "last": texts,
    }[spec.states.positions]
    tensors = sites
    if spec.states.pool != ("none",):
        rows, tensors = texts, sites * len(spec.states.pool)
    return int(rows * tensors * config.hidden_size * state_dtype(spec.states.dtype, dtype).itemsize)
