"""Log-probabilities and entropies are those of a plain forward pass, before temperature, filters and penalties."""

from __future__ import annotations

import torch
from tests.engines.families import loaded_family, ragged_requests
from tests.engines.reference import plain_forward

from latentext.engines.engine import Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.spec import Decoding


def test_logprobs_and_entropies_are_of_the_models_own_distribution() -> None:
    loaded, requests = loaded_family("phi"), ragged_requests(6)
    decoding = Decoding(
        temperature=0.7,
        top_k=20,
        repetition_penalty=1.4,
        max_new_tokens=9,
        min_new_tokens=5,
        logprobs=True,
        entropy=True,
    )
    for result in TransformersEngine(loaded).generate(requests, range(2), decoding, 0, slots=5):
        assert isinstance(result, Generated)
        completion = result.completion
        prompt = list(requests[completion.index].prompt_token_ids)
        logits = plain_forward(loaded, [*prompt, *completion.token_ids]).logits[0, len(prompt) - 1 : -1].double()
        expected = logits.log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        entropies = torch.distributions.Categorical(logits=logits).entropy()
        assert completion.logprobs is not None
        assert completion.entropies is not None
        torch.testing.assert_close(torch.tensor(completion.logprobs).double(), chosen, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.tensor(completion.entropies).double(), entropies, rtol=1e-4, atol=1e-4)


def test_what_is_not_asked_for_is_not_given() -> None:
    for result in TransformersEngine(loaded_family("phi")).generate(ragged_requests(2), range(1), Decoding(), 0):
        assert isinstance(result, Generated)
        assert result.completion.logprobs is None
        assert result.completion.entropies is None
