"""Guards of speed that need no clock: passes, buffers and copies are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.engines.families import loaded_family, loaded_model, request
from tests.engines.reference import plain_forward
from tests.engines.scripted import scripted_model
from tests.states.captured import DECODING, replay_states, write_with_states
from torch.utils._python_dispatch import TorchDispatchMode

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.spec import Decoding, StatesSpec
from latentext.states.inflight import InflightCapture

FORCED = Decoding(min_new_tokens=6, max_new_tokens=6)


def test_passes_are_one_a_batch_of_prompts_and_one_a_step() -> None:
    engine = TransformersEngine(loaded_family("llama"))
    requests = [request(i, [i, i + 1]) for i in range(8)]
    assert len(list(engine.generate(requests, range(1), FORCED, 0, slots=8))) == 8
    assert engine.forward_calls == 6, "one prefill gives the first token, five steps the others"
    list(engine.generate(requests, range(1), FORCED, 0, slots=4))
    assert engine.forward_calls == 6 + 2 * 6, "two full batches, one after the other"


def test_a_free_slot_is_filled_while_the_other_texts_go_on() -> None:
    """One text of 20 tokens beside twenty of 1 token: as many passes as twenty prefills and nineteen steps."""
    model = scripted_model({**{t: t + 1 for t in range(1, 21)}, 100: 256})
    requests = [request(0, [1]), *(request(i, [100]) for i in range(1, 21))]
    engine = TransformersEngine(loaded_model(model))
    assert len(list(engine.generate(requests, range(1), Decoding(max_new_tokens=20), 0, slots=2))) == 21
    assert engine.forward_calls == 20 + 19


def test_prompts_are_prefilled_in_passes_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentext.engines.transformers.forward.PREFILL_TOKENS", 8)
    engine = TransformersEngine(loaded_family("llama"))
    requests = [request(i, [i, 1, 2, 3]) for i in range(6)]
    list(engine.generate(requests, range(1), FORCED, 0, slots=6))
    assert engine.forward_calls == 3 + 5


def test_a_replay_takes_as_few_passes_as_the_budget_allows() -> None:
    loaded = loaded_family("llama")
    requests = [request(i, [i] * 4) for i in range(10)]
    completions, _ = write_with_states(loaded, requests, StatesSpec(), decoding=FORCED)
    passes: list[int] = []
    hook = loaded.layout.base.register_forward_pre_hook(
        lambda _m, _a, kwargs: passes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    replay_states(loaded, requests, completions, StatesSpec(), tokens_per_pass=30)
    hook.remove()
    assert passes == [3, 3, 3, 1]


@pytest.mark.parametrize(
    ("states", "buffers_of_a_site"),
    [
        (StatesSpec(), 1),
        (StatesSpec(positions="all"), 1),
        (StatesSpec(positions="prompt"), 1),
        (StatesSpec(positions="last"), 1),
        (StatesSpec(pool=("mean", "max", "last", "entropy_mean")), 6),  # first, last, sum, max, weighted sum, weight
    ],
    ids=lambda value: f"{value.positions}-{value.pool[0]}" if isinstance(value, StatesSpec) else None,
)
def test_buffers_are_allocated_once_and_hooks_read_nothing_back(
    states: StatesSpec, buffers_of_a_site: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = _CountedOperations()
    for name in ("sink", "after_logits"):
        monkeypatch.setattr(InflightCapture, name, _counted(inside, getattr(InflightCapture, name)))
    requests = [request(i, [i, i + 1, 7]) for i in range(12)]
    write_with_states(loaded_family("llama"), requests, states, slots=4)
    assert inside.count["aten::zeros"] == 2 * buffers_of_a_site, "two sites"
    assert inside.count["aten::_local_scalar_dense"] == 0, "item() and tolist() wait for the device"


class _CountedOperations(TorchDispatchMode):
    """Counts torch's operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def _counted(mode: _CountedOperations, real: Callable[..., None]) -> Callable[..., None]:
    def inside(*args: Any) -> None:
        with mode:
            real(*args)

    return inside


def test_passes_of_somebody_else_between_two_texts_leave_the_states_alone() -> None:
    loaded = loaded_family("llama")
    requests = [request(i, [i, 1]) for i in range(4)]
    _, expected = write_with_states(loaded, requests, StatesSpec(), slots=2)
    capture = Capture(StatesSpec(), ("final_norm", "embed"))
    for result in TransformersEngine(loaded).generate(requests, range(1), DECODING, 0, capture=capture, slots=2):
        assert isinstance(result, Generated)
        assert result.states is not None
        plain_forward(loaded, [9, 9, 9])
        for site, tensor in result.states.tensors.items():
            assert torch.equal(tensor, expected[result.completion.index].tensors[site])
