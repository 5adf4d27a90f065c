"""One vLLM engine for all tests: starting it takes longer than any of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.vllm.made import vllm_model

from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model
from latentext.models.resolve import resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.spec import ModelSpec

if TYPE_CHECKING:
    from latentext.engines.vllm.engine import VllmEngine

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


@pytest.fixture(scope="session")
def stories(stories260k: Path) -> LoadedModel:
    """The model as transformers loads it, to compare with."""
    return load_model(ModelSpec(name=str(stories260k)))


@pytest.fixture(scope="session")
def engine(stories260k: Path) -> Iterator[VllmEngine]:
    """vLLM with the same model; one test or the other makes it start again, none leaves it dead."""
    from latentext.engines.vllm.engine import VllmEngine

    made = VllmEngine(vllm_model(stories260k), load_tokenizer(resolve_model(str(stories260k))))
    yield made
    made.close()
