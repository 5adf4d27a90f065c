"""A small real model in memory, and its own greedy texts: what repeats and verified texts are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import load_model
from latentext.spec import ModelSpec


@pytest.fixture(scope="session")
def stories(stories260k: Path) -> TransformersEngine:
    """The engine of the real 260k model, fp32."""
    return TransformersEngine(load_model(ModelSpec(name=str(stories260k))))


@pytest.fixture(scope="session")
def tiny() -> TransformersEngine:
    """The engine of the packaged model."""
    return TransformersEngine(load_model(ModelSpec(name="tiny")))
