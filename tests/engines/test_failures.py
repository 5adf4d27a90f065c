"""One text that cannot be written fails by name, and the others go on."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from tests.engines.families import (
    CACHE,
    CONTEXT,
    EOS,
    VOCABULARY,
    loaded_model,
    ragged_requests,
    random_model,
    request,
)
from tests.engines.scripted import scripted_model

from latentext.engines.engine import Capture, Generated, OutOfMemory
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import LoadedModel
from latentext.request import Completion, Failure, Request
from latentext.spec import Decoding, StatesSpec
from latentext.states.finite import nonfinite_states

GREEDY = Decoding(max_new_tokens=12)
SAMPLED = Decoding(max_new_tokens=12, temperature=1.0)


def _run(
    model: Any, requests: list[Request], decoding: Decoding = GREEDY, **options: Any
) -> tuple[dict[int, Completion], dict[int, Failure]]:
    loaded = model if isinstance(model, LoadedModel) else loaded_model(model)
    results = list(TransformersEngine(loaded).generate(requests, range(1), decoding, 0, **options))
    written = {r.completion.index: r.completion for r in results if isinstance(r, Generated)}
    failed = {r.index: r for r in results if isinstance(r, Failure)}
    assert len(written) + len(failed) == len(results) == len(requests)
    return written, failed


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ([], "empty-prompt"),
        ([1] * CONTEXT, "prompt-too-long"),
        ([1] * (CONTEXT + 50), "prompt-too-long"),
        ([1, VOCABULARY], "bad-token"),
        ([1, -1], "bad-token"),
    ],
)
def test_a_prompt_that_does_not_fit_fails_alone(prompt: list[int], reason: str) -> None:
    written, failed = _run(random_model("llama"), [request(0, [3, 4]), request(1, prompt), request(2, [5])])
    assert set(written) == {0, 2}
    assert failed[1].reason == reason
    assert "\n" not in failed[1].message


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_nan_in_one_embedding_spoils_only_the_texts_that_meet_it(
    value: float, attention: str, decoding: Decoding
) -> None:
    model = random_model("llama")
    model.set_attn_implementation(attention)
    bad = 200
    requests = [request(i, [i + 1, *([bad] if i % 3 == 1 else []), *range(2, 2 + i)]) for i in range(15)]
    expected, _ = _run(model, [r for r in requests if bad not in r.prompt_token_ids], decoding, slots=3)
    with torch.no_grad():
        model.model.embed_tokens.weight[bad] = value
    written, failed = _run(model, requests, decoding, slots=3)
    assert {r.index for r in requests if bad in r.prompt_token_ids} <= set(failed)
    assert {f.reason for f in failed.values()} == {"nonfinite-logits"}
    met = {i for i, c in expected.items() if bad in c.token_ids[:-1]}
    assert set(written) == set(expected) - met
    for index, completion in written.items():
        assert completion.token_ids == expected[index].token_ids


def test_a_nan_that_only_the_states_show_leaves_the_text_and_fails_the_states_by_name() -> None:
    model = scripted_model({1: 2, 2: 3, 3: 4, 4: EOS})
    loaded = loaded_model(model)  # Spoiled after it is loaded: at load it would be refused.
    states = StatesSpec(sites=("resid_post.2",))
    capture = Capture(states, ("resid_post.2",))
    model.model.layers[2].register_forward_hook(lambda _m, args, out: _spoil(args[0], out))
    model.model.norm.register_forward_pre_hook(lambda _m, args: (torch.nan_to_num(args[0]),))
    options: dict[str, Any] = {"capture": capture, "slots": 2}
    engine = TransformersEngine(loaded)
    results = list(engine.generate([request(0, [1]), request(1, [2])], range(1), GREEDY, 0, **options))
    assert all(isinstance(result, Generated) for result in results)
    found = {result.states.index: nonfinite_states(result.states) for result in results}  # type: ignore[union-attr, arg-type]
    assert found[1] is None
    assert found[0] is not None and found[0].reason == "nonfinite-states"
    assert "resid_post.2" in found[0].message


def _spoil(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """While two texts are in flight, the first one's state is a NaN."""
    if before.shape[0] < 2 or before.shape[1] != 1:
        return after
    after = after.clone()
    after[0, 0, 0] = torch.nan
    return after


def test_bans_that_leave_no_token_are_named() -> None:
    decoding = Decoding(max_new_tokens=200, no_repeat_ngram_size=1, min_new_tokens=200)
    model = random_model("llama")
    model.config.max_position_embeddings = 1000
    _, failed = _run(model, [request(0, list(range(VOCABULARY - 5)))], decoding)
    assert failed[0].reason == "no-token-left"


def _limit_memory(monkeypatch: pytest.MonkeyPatch, model: Any, *, rows: int = 99, tokens: int = 99) -> None:
    """Let passes of the decode loop (those with a cache) run out of memory beyond so many rows or tokens a row."""
    forward = model.forward

    @functools.wraps(forward)
    def limited(*args: Any, **kwargs: Any) -> Any:
        batch, length = kwargs["input_ids"].shape
        if CACHE in kwargs and (batch > rows or length > tokens):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", limited)


def test_a_batch_that_does_not_fit_is_told_to_the_caller_and_a_smaller_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, requests = random_model("llama"), ragged_requests(6)
    expected, _ = _run(model, requests, slots=2)
    _limit_memory(monkeypatch, model, rows=2)
    with pytest.raises(OutOfMemory):
        _run(model, requests, slots=4)
    assert _run(model, requests, slots=2)[0] == expected


def test_a_text_that_does_not_fit_alone_fails_and_the_next_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("llama")
    requests = [request(0, [1, 2]), request(1, [3] * 30), request(2, [4])]
    expected, _ = _run(model, [requests[0], requests[2]], slots=1)
    _limit_memory(monkeypatch, model, tokens=20)
    written, failed = _run(model, requests, slots=1)
    assert written == expected
    assert {i: f.reason for i, f in failed.items()} == {1: "out-of-memory"}


def test_memory_that_the_allocator_refuses_is_out_of_memory() -> None:
    """A real refusal: the buffers of 2⁴⁰ bytes and more are asked of this machine's own allocator."""
    model = random_model("llama")
    model.config.max_position_embeddings = 1 << 46
    with pytest.raises(OutOfMemory):
        _run(model, [request(0, [1]), request(1, [2])], Decoding(max_new_tokens=1 << 42), slots=2)
