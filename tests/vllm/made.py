"""What the tests with vLLM are made of: its model spec, requests, and texts by either engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentext.engines.engine import Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.request import Completion, Request
from latentext.spec import Decoding, ModelSpec, VllmOptions

BEGINNINGS = [
    "Once upon a time",
    "The dog",
    "Lily and Tom went to the park. They",
    "One day, a big bear",
    "He said:",
    "A",
]

Texts = dict[tuple[int, int], Completion]


def vllm_model(name: Path | str, **options: Any) -> ModelSpec:
    """A model for vLLM on a CPU, without compiling anything."""
    vllm = VllmOptions(enforce_eager=True, **options)
    return ModelSpec(name=str(name), engine="vllm", dtype="float32", threads=1, vllm=vllm)


def requests_of(tokenizer: Any, texts: Sequence[str] = BEGINNINGS) -> list[Request]:
    """Plain-text prompts."""
    return [Request(i, f"key-{i}", {}, [], text, tokenizer(text)["input_ids"]) for i, text in enumerate(texts)]


def texts_of(
    engine: Any, requests: Sequence[Request], decoding: Decoding, samples: range | None = None, seed: int = 0
) -> Texts:
    """All texts of an engine, none of which may fail."""
    texts = {}
    for result in engine.generate(requests, samples or range(decoding.n), decoding, seed):
        assert isinstance(result, Generated), result
        texts[result.completion.index, result.completion.sample] = result.completion
    return texts


def plain_texts(loaded: LoadedModel, requests: Sequence[Request], decoding: Decoding) -> Texts:
    """The same by transformers."""
    return texts_of(TransformersEngine(loaded), requests, decoding)
