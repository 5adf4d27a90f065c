"""Blocks are found by structure; where hooks would see something else, the model's own output is read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.engines.families import FAMILIES, VOCABULARY, loaded_family, loaded_model, ragged_requests, random_model
from tests.engines.reference import plain_forward
from tests.states.comparing import assert_same_states
from torch import nn

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import EngineError
from latentext.spec import Decoding, StatesSpec
from latentext.states.layout import find_layout, reading
from latentext.states.replay import WrittenText, replay
from latentext.states.sites import all_sites


@pytest.mark.parametrize("family", FAMILIES)
def test_widths_are_those_of_the_states(family: str) -> None:
    loaded = loaded_family(family)
    hidden_states = plain_forward(loaded, [1, 2, 3]).hidden_states
    widths = [loaded.layout.width(site) for site in all_sites(loaded.layout.num_blocks)]
    assert widths == [h.shape[-1] for h in hidden_states]


def test_the_last_block_before_the_norm_can_be_read() -> None:
    loaded = loaded_family("llama")
    seen: dict[str, torch.Tensor] = {}
    with torch.inference_mode(), reading(loaded.layout, ("resid_post.2", "final_norm"), seen.__setitem__):
        plain_forward(loaded, [5, 6, 7, 8])
        assert not torch.allclose(seen["resid_post.2"], seen["final_norm"])
        assert torch.equal(loaded.model.model.norm(seen["resid_post.2"]), seen["final_norm"])


def _with_two_lists() -> Any:
    """A model with a second list of as many modules as it has blocks."""
    model = random_model("llama")
    model.model.adapters = nn.ModuleList(nn.Identity() for _ in range(3))
    return model


class _Swapped(nn.Module):
    """A block that adds to what it passes on after the states were reported: hooks see another tensor."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.block(*args, **kwargs) + 1.0


def _with_changed_states() -> Any:
    model = random_model("llama")
    model.model.layers[1] = _Swapped(model.model.layers[1])
    return model


@pytest.mark.parametrize("make", [_with_two_lists, _with_changed_states])
def test_a_model_whose_blocks_do_not_fit_is_read_through_its_output(make: Any) -> None:
    loaded = loaded_model(make())
    sites = all_sites(3)
    assert loaded.layout.blocks is None
    states = StatesSpec(sites=("all",), positions="all")
    results = TransformersEngine(loaded).generate(
        ragged_requests(5), range(1), Decoding(max_new_tokens=6), 0, capture=Capture(states, sites), slots=2
    )
    for result in results:
        assert isinstance(result, Generated)
        assert result.states is not None
        request = ragged_requests(5)[result.completion.index]
        prompt, generated = list(request.prompt_token_ids), list(result.completion.token_ids)
        plain = plain_forward(loaded, [*prompt, *generated]).hidden_states
        text = WrittenText(request.index, 0, prompt, generated)
        (replayed,) = replay(loaded.layout, [text], states, sites, dtype=torch.float32)
        for k, site in enumerate(sites):
            assert_same_states(result.states.tensors[site], plain[k][0, :-1], site)
            assert_same_states(replayed.tensors[site], plain[k][0, :-1], f"{site} replayed")


def test_a_model_without_hidden_states_is_refused() -> None:
    model = random_model("llama")
    for module in (model, model.model):
        module.forward = _without_states(module.forward)
    with pytest.raises(EngineError, match="does not report the hidden states"):
        find_layout(model, VOCABULARY)


def _without_states(forward: Any) -> Any:
    return lambda *args, **kwargs: forward(*args, **{**kwargs, "output_hidden_states": False})
