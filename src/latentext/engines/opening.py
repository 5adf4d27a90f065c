"""From a model spec to an engine: the one place that knows which engines there are."""

from __future__ import annotations

from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import load_model
from latentext.spec import ModelSpec


def open_engine(model: ModelSpec, *, batch_tokens: int | None = None) -> TransformersEngine:
    """Load the model and make it ready to generate.

    Args:
        batch_tokens: the budget that an earlier run of the same dataset recorded; None lets the spec or the engine
        choose.

    Raises:
        SpecError, EngineError, CredentialsError: see `latentext.engines.transformers.loading.load_model`.
    """
    return TransformersEngine(load_model(model), batch_tokens=batch_tokens or model.batch_tokens)
