"""What is settled about a model when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engines.families import (
    CACHE,
    CONTEXT,
    EOS,
    VOCABULARY,
    byte_tokenizer,
    loaded_family,
    loaded_model,
    ragged_requests,
    random_model,
)
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig

from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import choose_device, kv_bytes_per_token, load_model
from latentext.errors import LatentextError, SpecError
from latentext.spec import Decoding, ModelSpec


def test_end_tokens_are_those_of_the_model_and_of_its_tokenizer() -> None:
    assert loaded_model(random_model("llama"), eos=(7, 9)).eos_token_ids == {7, 9, EOS}


def test_context_and_vocabulary_come_from_the_configuration() -> None:
    loaded = loaded_family("gpt2")
    assert (loaded.context_length, loaded.vocab_size) == (CONTEXT, VOCABULARY)


def test_a_model_without_learned_positions_has_no_limit_of_its_own() -> None:
    model = BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=1, n_head=2))
    assert loaded_model(model).context_length >= 1 << 20


@pytest.mark.parametrize("family", ["llama", "gemma", "gpt2", "opt", "gpt-neox"])
def test_the_cache_is_as_large_as_foretold(family: str) -> None:
    loaded = loaded_family(family)
    prompt = torch.tensor([[1, 2, 3, 4, 5]])
    with torch.inference_mode():
        cache = loaded.model(prompt, use_cache=True)[CACHE]
    size = sum(t.nbytes for layer in cache.layers for t in (layer.keys, layer.values))
    assert size == 5 * kv_bytes_per_token(loaded.model.config.get_text_config(), torch.float32)


@pytest.mark.parametrize("device", ["cuda:7", "no such device", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(SpecError, match=r"model\.device"):
        choose_device(device)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model on disk, with its tokenizer."""
    random_model("llama").save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def _refusal(folder: Path, **options: str) -> str:
    with pytest.raises(LatentextError) as refused:
        load_model(ModelSpec(name=str(folder), **options))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_damaged_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights")
    assert "cannot be loaded" in _refusal(folder)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "cannot be loaded" in _refusal(folder)


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    config = LlamaConfig.from_pretrained(folder)
    config.intermediate_size = 64
    config.save_pretrained(folder)
    assert "mismatched weights" in _refusal(folder)


def test_a_weight_that_is_missing_is_refused_and_not_drawn_at_random(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "1 missing weights, first model.layers.1.mlp.up_proj.weight" in _refusal(folder)


def test_an_attention_that_is_not_installed_is_refused(folder: Path) -> None:
    assert "flash" in _refusal(folder, attention="flash_attention_2").lower()


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    random_model("gpt2").save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert load_model(ModelSpec(name=str(tmp_path))).context_length == CONTEXT


def test_the_batch_follows_from_the_requests_and_the_budget_alone() -> None:
    requests = ragged_requests(20, longest=20)
    longest = max(len(r.prompt_token_ids) for r in requests)
    engine = TransformersEngine(loaded_family("llama"), batch_tokens=1000)
    assert engine.slots_for(requests, Decoding(max_new_tokens=30)) == 1000 // (longest + 30)
    assert engine.slots_for(requests[::-1], Decoding(max_new_tokens=30)) == 1000 // (longest + 30)
    assert engine.slots_for(requests, Decoding(max_new_tokens=5000)) == 1
