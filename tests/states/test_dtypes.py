"""States keep the model's dtype unless another is asked for."""

from __future__ import annotations

import pytest
import torch
from tests.engines.families import loaded_model, ragged_requests, random_model
from tests.states.captured import replay_states, write_with_states

from latentext.spec import DType, StatesSpec


@pytest.mark.parametrize("model_dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("wanted", ["model", "float32", "float16"])
def test_states_come_in_the_dtype_asked_for(model_dtype: torch.dtype, wanted: DType) -> None:
    loaded, requests = loaded_model(random_model("llama", dtype=model_dtype)), ragged_requests(4)
    states = StatesSpec(dtype=wanted)
    completions, rows = write_with_states(loaded, requests, states)
    replayed = replay_states(loaded, requests, completions, states)
    expected = model_dtype if wanted == "model" else getattr(torch, wanted)
    for index, captured in rows.items():
        for site, tensor in captured.tensors.items():
            assert tensor.dtype == replayed[index].tensors[site].dtype == expected
            assert tensor.is_contiguous()
            assert tensor.device.type == "cpu"
            assert torch.isfinite(tensor).all()
            near = 1e-5 if model_dtype == torch.float32 and wanted != "float16" else 0.05
            torch.testing.assert_close(tensor, replayed[index].tensors[site], rtol=near, atol=near * 4)
