"""From a model spec to an engine: the one place that knows which engines there are.

What a run has to know before it loads anything (identity, tokenizer, dtype) is told by `model_facts`, so that a
finished dataset is recognised and another model refused within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from latentext.engines.engine import Engine
from latentext.engines.server.spend import Spend
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import choose_device, choose_dtype, load_model
from latentext.errors import SpecError
from latentext.models.deciding import END_TOKENS, further_facts
from latentext.models.resolve import model_identity, resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.spec import Decoding, ModelSpec, Spec
from latentext.spec.limits import Limits


@dataclass(frozen=True)
class ModelFacts:
    """What decides a model's outputs, known without its weights in memory.

    Attributes:
        identity: hash of the weights' content; of the name where the model is behind a server.
        tokenizer: None where the model is behind a server and no local model is named.
        dtype: such as ``float32``; with `device`, of the model on this machine, None if there is none.
        device: ``cpu``, ``cuda`` or ``mps``.
        further: what else of the model decides, by its name in the run's identity (`latentext.models.deciding`).
    """

    identity: str
    tokenizer: PreTrainedTokenizerBase | None
    dtype: str | None
    device: str | None
    further: Mapping[str, Any] = field(default_factory=dict)


def model_facts(model: ModelSpec, engine: Engine | None = None) -> ModelFacts:
    """The facts of a model, or of the one that `engine` has in memory.

    Raises:
        SpecError, CredentialsError: there is no such model or device, or it is not given out.
    """
    here = local_model(model)
    if here is None:
        return ModelFacts(model_identity(model), None, None, None)
    source = resolve_model(here.name, here.revision)
    if isinstance(engine, TransformersEngine):
        loaded = engine.loaded
        tokenizer, dtype, device = loaded.tokenizer, loaded.dtype, loaded.device
    else:
        device = choose_device(here.device)
        tokenizer = getattr(engine, "tokenizer", None)  # An engine that is open may have read it already.
        if tokenizer is None:
            tokenizer = load_tokenizer(source, trust_remote_code=here.trust_remote_code)
        dtype = choose_dtype(here, source, device)
    further = further_facts(source, tokenizer, trust_remote_code=here.trust_remote_code)
    if isinstance(engine, TransformersEngine):
        further[END_TOKENS] = sorted(engine.loaded.eos_token_ids)
    if model.remote:  # A server ends its texts itself.
        del further[END_TOKENS]
    return ModelFacts(model_identity(model), tokenizer, _name(dtype), device.type, further)


def local_model(model: ModelSpec) -> ModelSpec | None:
    """The model whose tokenizer and weights are on this machine, as the engine `transformers` loads it, or None."""
    if not model.remote:
        return model.model_copy(update={"engine": "transformers", "vllm": None})
    if model.local is None:
        return None
    return model.model_copy(
        update={"name": model.local, "engine": "transformers", "revision": None, "api": None, "local": None}
    )


def required_local_model(spec: Spec) -> ModelSpec:
    """The model of a spec that is on this machine, from which states are read.

    Raises:
        SpecError: there is none, or requests carry what makes another prompt of theirs at the server.
    """
    if (here := local_model(spec.model)) is None:
        raise SpecError(
            f"the model {spec.model.name} is behind a server, which gives no states",
            where="model",
            remedy="name the same model on this machine as model.local, or do without states (--set states=null)",
        )
    if spec.model.remote and spec.model.api is not None:
        from latentext.engines.server.request_fields import refuse_unrendered

        refuse_unrendered(spec.model.api.request)
    return here


def open_transformers(model: ModelSpec, *, batch_tokens: int | None = None) -> TransformersEngine:
    """Load the weights into this process and make them ready to generate.

    Args:
        batch_tokens: the budget that an earlier run of the same dataset recorded; None lets the spec or the engine
        choose.

    Raises:
        SpecError, EngineError, CredentialsError: see `latentext.engines.transformers.loading.load_model`.
    """
    budget = batch_tokens or model.batch_tokens
    return TransformersEngine(load_model(model), batch_tokens=budget, batch_size=model.batch_size)


def open_engine(
    model: ModelSpec,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    journal: Path | None = None,
    limits: Limits | None = None,
    dataset: Path | None = None,
    on_spend: Callable[[Spend], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    on_wait: Callable[[str | None], None] | None = None,
) -> Engine:
    """Make the engine of a spec ready to generate; see `open_transformers` for the one in this process.

    Args:
        tokenizer: of `model_facts`.
        journal: where a remote engine keeps every answer until its shard is written.
        limits: what a remote engine may spend.
        dataset: the directory that texts of a remote engine are for, to which its answers belong.
        on_spend: told what a remote engine spent so far, earlier runs included; from another thread.
        on_note: told what a person should know of the journal.
        on_wait: told what requests to a server wait for, and None when they do no more; from another thread.
    """
    if model.engine == "transformers":
        return open_transformers(model)
    if model.engine == "openai":
        from latentext.engines.server.engine import OpenAIEngine

        assert journal is not None
        return OpenAIEngine(
            model,
            journal=journal,
            limits=limits or Limits(),
            tokenizer=tokenizer,
            dataset=dataset,
            on_spend=on_spend,
            on_note=on_note,
            on_wait=on_wait,
        )
    if model.engine == "openai-batch":
        from latentext.engines.batch.engine import BatchEngine

        assert journal is not None
        return BatchEngine(
            model,
            journal=journal,
            limits=limits or Limits(),
            tokenizer=tokenizer,
            dataset=dataset,
            on_spend=on_spend,
            on_note=on_note,
            on_wait=on_wait,
        )
    from latentext.engines.vllm.engine import VllmEngine

    assert tokenizer is not None
    return VllmEngine(model, tokenizer)


class EngineKeeper:
    """Keeps one engine open between datasets, so that those of one model load it once; an engine of another model
    closes it. Engines behind a server are not kept: they hold no weights, and each has the journal of its dataset.
    """

    def __init__(self) -> None:
        self._model: ModelSpec | None = None
        self._engine: Engine | None = None

    def kept(self, model: ModelSpec) -> Engine | None:
        """The engine of this model, if it is the one that is open."""
        return self._engine if model == self._model else None

    def open(self, model: ModelSpec, tokenizer: PreTrainedTokenizerBase | None = None) -> Engine:
        """The engine of this model, opened where it is not; arguments and errors as `open_engine`."""
        if (engine := self.kept(model)) is None:
            self.close()
            engine = open_engine(model, tokenizer)
            self._model, self._engine = model, engine
        return engine

    def close(self) -> None:
        """Give back what the engine holds, if one is open."""
        if self._engine is not None:
            self._engine.close()
        self._model = self._engine = None


def refuse_unsupported(model: ModelSpec, decoding: Decoding, limits: Limits | None = None) -> None:
    """Refuse options that the engine cannot follow, by name, before anything starts.

    Args:
        limits: caps on what requests to a server cost, which some options would break.

    Raises:
        SpecError: the first of them.
    """
    if model.remote:
        from latentext.engines.server import request_body
        from latentext.engines.server.budget import refuse_unpriced
        from latentext.engines.server.prices import price_of

        request_body.refuse_unsupported(model, decoding, limits)
        if limits is not None:
            refuse_unpriced(limits, price_of(model), model.name)
    if model.engine == "vllm":
        from latentext.engines.vllm import support

        support.refuse_unsupported(model, decoding)


def remarks(model: ModelSpec) -> list[str]:
    """What a person should know of a spec's engine before it starts, in a line each."""
    if model.engine == "vllm":
        from latentext.engines.vllm.support import spinning_threads

        return spinning_threads(choose_device(model.device).type)
    if not model.remote:
        return []
    from latentext.engines.server.remarks import remarks_on

    return remarks_on(model)


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
