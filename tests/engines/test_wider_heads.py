"""A model with wider heads is the same function: its logits and states are those of the original."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.engines.reference import plain_forward
from tests.states.comparing import assert_same_states

from latentext.engines.transformers.loading import load_model
from latentext.engines.vllm.wider_heads import head_size, widening, write_widened
from latentext.errors import SpecError
from latentext.models.resolve import TINY_FOLDER
from latentext.spec import ModelSpec

SUPPORTED = [32, 64, 80, 96, 112, 128]
"""The head sizes of vLLM 0.32's attention on a CPU, its own list cut short."""


@pytest.mark.parametrize(("name", "size", "factor"), [("stories260k", 8, 4), ("tiny", 48, 2)])
def test_a_model_with_wider_heads_is_the_same_function(
    stories260k: Path, tmp_path: Path, name: str, size: int, factor: int
) -> None:
    folder = stories260k if name == "stories260k" else TINY_FOLDER
    original = load_model(ModelSpec(name=str(folder)))
    assert head_size(original.model.config) == size
    assert widening(original.model.config, SUPPORTED) == factor
    write_widened(folder, tmp_path / "wide", factor)
    wide = load_model(ModelSpec(name=str(tmp_path / "wide")))
    assert head_size(wide.model.config) == size * factor
    assert wide.eos_token_ids == original.eos_token_ids
    token_ids = torch.randint(0, original.vocab_size, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    expected, found = plain_forward(original, token_ids), plain_forward(wide, token_ids)
    assert_same_states(found.logits[0], expected.logits[0], "logits")
    for index, states in enumerate(expected.hidden_states):
        assert_same_states(found.hidden_states[index][0], states[0], f"hidden_states[{index}]")


def test_heads_that_fit_stay_as_they_are() -> None:
    assert widening(SimpleNamespace(head_dim=64, model_type="phi3"), SUPPORTED) == 1


@pytest.mark.parametrize(
    "config",
    [
        SimpleNamespace(head_dim=8, model_type="qwen3"),
        SimpleNamespace(head_dim=36, model_type="llama"),
        SimpleNamespace(head_dim=8, model_type="llama", rope_parameters={"rope_type": "llama3"}),
    ],
    ids=["a norm over the head", "no size will do", "other positions"],
)
def test_heads_that_cannot_be_widened_are_refused(config: SimpleNamespace) -> None:
    with pytest.raises(SpecError, match="use engine: transformers"):
        widening(config, SUPPORTED)
