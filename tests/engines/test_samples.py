"""Many samples of a prompt: each is a function of its own number, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from tests.engines.families import loaded_family, loaded_model, ragged_requests, random_model, request

from latentext.engines.engine import Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.request import Request
from latentext.spec import Decoding

SAMPLED = Decoding(temperature=0.9, top_k=50, top_p=0.95, min_p=0.001, max_new_tokens=12)

Texts = dict[tuple[int, int], Sequence[int]]


def _texts(
    loaded: LoadedModel,
    requests: list[Request],
    samples: range,
    slots: int,
    decoding: Decoding = SAMPLED,
    seed: int = 5,
) -> Texts:
    results = list(TransformersEngine(loaded).generate(requests, samples, decoding, seed, slots=slots))
    assert all(isinstance(r, Generated) for r in results)
    return {(r.completion.index, r.completion.sample): r.completion.token_ids for r in results}  # type: ignore[union-attr]


def test_thirty_two_samples_then_thirty_two_more_equal_sixty_four_at_once() -> None:
    loaded, requests = loaded_family("llama"), ragged_requests(3)
    first = _texts(loaded, requests, range(32), 24)
    more = _texts(loaded, requests, range(32, 64), 24)
    together = _texts(loaded, requests, range(64), 24)
    assert first | more == together
    assert len({tuple(t) for t in together.values()}) > 60


@pytest.mark.parametrize("slots", [1, 2, 7, 40])
def test_the_batch_decides_nothing(slots: int) -> None:
    loaded, requests = loaded_family("gpt2"), ragged_requests(9)
    assert _texts(loaded, requests, range(2), slots) == _texts(loaded, requests, range(2), 18)


def test_another_seed_gives_other_texts() -> None:
    loaded, requests = loaded_family("llama"), ragged_requests(4)
    assert _texts(loaded, requests, range(1), 4, seed=5) != _texts(loaded, requests, range(1), 4, seed=6)


def test_samples_of_a_prompt_share_one_prefill() -> None:
    loaded = loaded_family("llama")
    rows: list[tuple[int, int]] = []
    hook = loaded.model.model.register_forward_pre_hook(
        lambda _m, _a, kwargs: rows.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    _texts(loaded, [request(0, [1, 2, 3, 4]), request(1, [9, 8])], range(8), 16)
    hook.remove()
    assert rows[0] == (2, 4)
    assert all(length == 1 for _, length in rows[1:])


def test_a_greedy_tie_goes_to_the_lower_id() -> None:
    model = random_model("llama")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    texts = _texts(loaded_model(model), [request(0, [7, 7])], range(1), 1, Decoding(max_new_tokens=3))
    assert texts[0, 0] == [0, 0, 0]
