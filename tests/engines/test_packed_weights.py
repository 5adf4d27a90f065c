"""Large layers use packed copies of their weights while texts are written, and nobody can tell but by the clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.engines.families import loaded_model, ragged_requests, random_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from latentext.engines.transformers import packed_weights as module
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.packed_weights import packed_weights
from latentext.libraries.torch import can_pack
from latentext.spec import Decoding

needs_onednn = pytest.mark.skipif(not can_pack(), reason="oneDNN packs weights on x86 processors only")


def _is_packed(layer: nn.Module) -> bool:
    return "forward" in vars(layer)


@pytest.fixture
def small_layers_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_FEWEST_WEIGHTS", 1)
    yield


@needs_onednn
@pytest.mark.parametrize("layer", [nn.Linear(700, 300), nn.Linear(512, 256, bias=False), Conv1D(300, 700)], ids=str)
@pytest.mark.parametrize("shape", [(1,), (3, 1), (200, 1), (2, 5)], ids=str)
def test_a_packed_layer_gives_what_the_layer_gives(layer: nn.Module, shape: tuple[int, ...]) -> None:
    states = torch.randn(*shape, layer.weight.shape[0] if isinstance(layer, Conv1D) else layer.weight.shape[1])
    with torch.inference_mode():
        expected = layer(states)
        with packed_weights(layer):
            assert _is_packed(layer)
            found = layer(states)
        assert not _is_packed(layer)
    assert found.shape == expected.shape
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@needs_onednn
def test_weights_that_were_changed_in_between_count() -> None:
    layer, states = nn.Linear(512, 512), torch.randn(4, 512)
    with torch.inference_mode():
        with packed_weights(layer):
            before = layer(states)
        layer.weight.data.mul_(2)
        with packed_weights(layer):
            after = layer(states)
        torch.testing.assert_close(after - layer.bias, 2 * (before - layer.bias), rtol=1e-4, atol=1e-4)


@needs_onednn
def test_layers_are_themselves_again_after_an_error() -> None:
    layer = nn.Linear(512, 512)
    with pytest.raises(ZeroDivisionError), packed_weights(layer):
        raise ZeroDivisionError
    assert not _is_packed(layer)


class _Scaled(nn.Linear):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(states)


def test_small_layers_and_those_that_are_something_else_are_left_alone() -> None:
    hooked = nn.Linear(512, 512)
    hooked.forward = lambda states: states
    layers = [nn.Linear(16, 16), nn.Linear(512, 512).to(torch.bfloat16), _Scaled(512, 512), hooked]
    own = hooked.forward
    with packed_weights(nn.ModuleList(layers)):
        assert [_is_packed(layer) for layer in layers] == [False, False, False, True]
    assert hooked.forward is own


def test_copies_that_memory_would_not_hold_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(512, 512)
    monkeypatch.setattr(module, "host_memory", lambda: 8 * layer.weight.nbytes - 1)
    with packed_weights(layer):
        assert not _is_packed(layer)


@needs_onednn
@pytest.mark.usefixtures("small_layers_count")
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt-neox", "gemma"])
def test_texts_are_those_that_generate_of_transformers_writes(family: str) -> None:
    model, requests = random_model(family), ragged_requests(9)
    engine, packed = TransformersEngine(loaded_model(model)), set[bool]()
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda *_: packed.add(_is_packed(head)))
    results = list(engine.generate(requests, range(1), Decoding(max_new_tokens=40), 0, slots=4))
    assert packed == {True} and not any(map(_is_packed, model.modules()))
    ends = sorted(engine.loaded.eos_token_ids)
    for result in results:
        prompt = torch.tensor([requests[result.completion.index].prompt_token_ids])
        expected = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=40,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=engine.loaded.pad_token_id,
        )
        assert list(result.completion.token_ids) == expected[0, prompt.shape[1] :].tolist()
