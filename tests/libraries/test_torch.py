"""Weights are packed only by operators that give what the layer gives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from latentext.engines.transformers.packed_weights import packed_weights
from latentext.libraries import torch as used


@pytest.fixture(autouse=True)
def probed_anew() -> Iterator[None]:
    used.can_pack.cache_clear()
    yield
    used.can_pack.cache_clear()


def _gone(*_: Any) -> torch.Tensor:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")


def _other_arguments(*_: Any) -> torch.Tensor:
    raise RuntimeError("mkldnn::_linear_pointwise() expected at most 5 argument(s)\nbut received 6")


def _other_results(packed: torch.Tensor, bias: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(states), len(bias))


@pytest.mark.parametrize(
    ("name", "replacement", "told"),
    [
        ("pack", _gone, "has no attribute '_reorder_linear_weight'"),
        ("packed_linear", _other_arguments, "expected at most 5 argument(s)"),
        ("packed_linear", _other_results, "other results"),
    ],
)
def test_layers_compute_as_usual_where_an_operator_has_changed_and_a_warning_says_so(
    name: str, replacement: Any, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not used.can_pack():
        pytest.skip("oneDNN packs weights on x86 processors only")
    used.can_pack.cache_clear()
    monkeypatch.setattr(used, name, replacement)
    layer, states = nn.Linear(512, 512), torch.randn(4, 512)
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        for _ in range(2):
            with packed_weights(layer):
                assert torch.equal(layer(states), nn.functional.linear(states, layer.weight, layer.bias))
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith(f"oneDNN's operators have changed in torch {torch.__version__}")
    assert told in line and "\n" not in line
