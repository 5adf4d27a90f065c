"""What a run says it will make is never less than what it makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.run.made import small_spec

import latentext
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import SpecError
from latentext.run.estimate import estimate
from latentext.run.runner import make_dataset

LLAMA_3_2_3B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
}
"""The published shape of meta-llama/Llama-3.2-3B-Instruct."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"states": {"sites": "all", "positions": "all"}, "decoding": {"max_new_tokens": 20, "n": 2}},
        {"states": {"sites": ["embed"], "pool": ["mean", "last"], "dtype": "float16"}},
        {"states": {"sites": ["embed"], "positions": "prompt"}, "decoding": {"max_new_tokens": 3}},
        {"states": None},
    ],
)
def test_the_bounds_hold_for_what_is_made(
    stories260k: Path, engine: TransformersEngine, tmp_path: Path, changes: dict[str, Any]
) -> None:
    spec = small_spec(stories260k, **changes)
    bound = estimate(spec)
    make_dataset(spec, tmp_path / "data", engine=engine)
    records = latentext.open_dataset(tmp_path / "data").records()
    assert bound.requests == 8
    assert bound.prompt_tokens * spec.decoding.n == sum(map(len, records["prompt_token_ids"]))
    new_tokens = sum(map(len, records["token_ids"]))
    assert new_tokens <= bound.max_new_tokens_total == 8 * spec.decoding.n * spec.decoding.max_new_tokens
    states = [
        view for capture in latentext.open_dataset(tmp_path / "data").captures for view in _tensors(tmp_path, capture)
    ]
    assert sum(states) <= bound.state_bytes
    assert (bound.state_bytes == 0) == (spec.states is None)
    assert bound.model_bytes == 260_032 * 4


def _tensors(folder: Path, capture: str) -> list[int]:
    """Bytes of the states themselves in each part."""
    from latentext.dataset.parts import open_part

    parts = map(open_part, sorted((folder / "data" / "states" / capture).glob("*.safetensors")))
    return [part.tensors[name].size for part in parts for name in part.sites]


def test_a_large_model_is_estimated_without_its_weights(materials: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(materials / "tokenizers" / "llama-3.2-instruct", tmp_path / "model"))
    (model / "config.json").write_text(json.dumps(LLAMA_3_2_3B))
    prompts = {"template": "Say {word} {count} times.", "grid": {"word": ["a", "b"], "count": {"range": [1, 6]}}}
    decoding = {"max_new_tokens": 200}
    spec = small_spec(model, prompts=prompts, decoding=decoding, states={"sites": [-1, 14]})
    bound = estimate(spec.model_copy(update={"model": spec.model.model_copy(update={"dtype": "bfloat16"})}))
    assert (bound.requests, bound.max_new_tokens_total) == (10, 2000)
    # Two sites of 3,072 two-byte numbers a new token; keys and values of a token are 2 × 28 × 8 × 128 of them.
    assert bound.state_bytes == 2000 * 2 * 3072 * 2
    assert bound.kv_cache_bytes % (2 * 28 * 8 * 128 * 2) == 0
    assert bound.kv_cache_bytes >= 2000 * 2 * 28 * 8 * 128 * 2


def test_what_would_stop_the_run_stops_the_estimate(stories260k: Path) -> None:
    with pytest.raises(SpecError, match=r"no site 'resid_post\.5'"):
        estimate(small_spec(stories260k, states={"sites": ["resid_post.5"]}))
