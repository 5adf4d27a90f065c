"""Numbers that are not finite: the message says where they come from and what helps."""

from __future__ import annotations

import pytest
import torch
from tests.engines.families import loaded_model, random_model

from latentext.errors import EngineError
from latentext.request import StateRows
from latentext.states.finite import nonfinite_states


def test_weights_of_nan_are_named_as_such() -> None:
    model = random_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(
        EngineError, match=r"not finite in float32 at layer 2, resid_post\.1; its weights hold NaN"
    ) as refused:
        loaded_model(model)
    assert "\n" not in str(refused.value)


def test_weights_that_overflow_in_float16_are_told_another_dtype() -> None:
    model = random_model("llama").to(torch.float16)
    with torch.no_grad():
        for projection in (model.model.layers[1].mlp.up_proj, model.model.layers[1].mlp.down_proj):
            projection.weight.fill_(6e4)  # The largest number of float16 is 65,504.
    with pytest.raises(EngineError, match=r"not finite in float16 .*; use bfloat16 or float32"):
        loaded_model(model)


def test_states_that_overflow_in_float16_are_told_another_dtype() -> None:
    rows = torch.arange(1).numpy()
    for dtype, advice in ((torch.float16, True), (torch.float32, False)):
        states = StateRows(0, 0, rows, rows, rows, {"final_norm": torch.tensor([[float("inf")]], dtype=dtype)})
        failure = nonfinite_states(states)
        assert failure is not None and ("use states.dtype: bfloat16 or float32" in failure.message) == advice
