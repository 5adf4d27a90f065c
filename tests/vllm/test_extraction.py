"""Hidden states that vLLM extracts are the rows that a replay gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.states.comparing import assert_same_states
from tests.vllm.made import plain_texts, requests_of
from tests.vllm.needed import need_vllm

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.loaded import LoadedModel
from latentext.spec import Decoding, StatesSpec
from latentext.states.replay import WrittenText, replay

need_vllm()

if TYPE_CHECKING:
    from latentext.engines.vllm.engine import VllmEngine

SITES = ("embed", "resid_post.0", "resid_post.4")


@pytest.mark.parametrize(
    ("states", "decoding"),
    [
        (StatesSpec(sites=SITES, positions="all"), Decoding(max_new_tokens=40, logprobs=True)),
        (StatesSpec(sites=SITES), Decoding(max_new_tokens=600)),
        (StatesSpec(sites=SITES, positions="prompt"), Decoding(max_new_tokens=1)),
        (StatesSpec(sites=SITES, pool=("last", "mean", "max")), Decoding(min_new_tokens=30, max_new_tokens=30)),
    ],
    ids=["all", "generated", "prompt", "pooled"],
)
def test_extracted_states_are_those_of_a_replay(
    engine: VllmEngine, stories: LoadedModel, states: StatesSpec, decoding: Decoding
) -> None:
    requests = requests_of(stories.tokenizer)
    plain = plain_texts(stories, requests, decoding)
    results = list(engine.generate(requests, range(1), decoding, 0, capture=Capture(states, SITES)))
    extracted = {r.completion.index: r for r in results if isinstance(r, Generated)}
    assert list(extracted) == [r.index for r in requests]
    for request in requests:
        text, expected = extracted[request.index].completion, plain[request.index, 0]
        assert list(text.token_ids) == list(expected.token_ids)
        if decoding.logprobs:
            assert text.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    written = [WrittenText(r.index, 0, r.prompt_token_ids, plain[r.index, 0].token_ids) for r in requests]
    for rows in replay(stories.layout, written, states, SITES, dtype=torch.float32):
        found = extracted[rows.index].states
        assert found is not None
        for label in ("position", "token_id", "remaining"):
            assert getattr(found, label).tolist() == getattr(rows, label).tolist()
        assert found.tensors.keys() == rows.tensors.keys()
        for name, tensor in rows.tensors.items():
            assert_same_states(found.tensors[name], tensor, name)
