"""A model that remembers by other means than keys and values is refused, not run to a wrong end."""

from __future__ import annotations

import pytest
import transformers
from tests.engines.families import VOCABULARY, loaded_model

from latentext.errors import EngineError

_SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize(
    "config",
    [
        transformers.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4),
        transformers.Lfm2Config(**_SMALL, layer_types=["conv", "full_attention"]),
        transformers.Qwen3NextConfig(
            **_SMALL,
            layer_types=["linear_attention", "full_attention"],
            linear_num_value_heads=2,
            linear_num_key_heads=2,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            num_experts=2,
            num_experts_per_tok=1,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_a_model_with_a_state_of_its_own_is_refused_in_one_line(config: transformers.PreTrainedConfig) -> None:
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(EngineError, match=type(model).__name__) as refused:
        loaded_model(model)
    assert "\n" not in str(refused.value)
