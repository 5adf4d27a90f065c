"""Penalties are those of transformers and of OpenAI's API; whole texts agree with ``generate``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.engines.families import VOCABULARY, loaded_family, ragged_requests
from tests.engines.reference import plain_generate
from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from latentext.engines.engine import Generated
from latentext.engines.penalties import TokenHistory
from latentext.engines.transformers.engine import TransformersEngine
from latentext.spec import Decoding

PROMPTS = [[1, 2, 3, 1, 2], [4], [5, 5, 5], [0, 1, 2, 3, 4, 5, 6, 7]]
STEPS = torch.randint(0, 8, (9, 4), generator=torch.Generator().manual_seed(2))
LOGITS = torch.randn(4, 10, generator=torch.Generator().manual_seed(4)) * 2


def _history(decoding: Decoding) -> TokenHistory:
    history = TokenHistory(4, 10, decoding, torch.device("cpu"))
    slots = torch.tensor([2, 0, 3, 1])
    for slot, prompt in zip(slots.tolist(), PROMPTS, strict=True):
        history.start(slot, [9, 9, 9, 9])
        history.append(torch.tensor([slot]), torch.tensor([8]))
        history.start(slot, prompt)
    for tokens in STEPS:
        history.append(slots, tokens)
    return history


def _texts() -> list[list[int]]:
    return [[*prompt, *STEPS[:, row].tolist()] for row, prompt in enumerate(PROMPTS)]


@pytest.mark.parametrize(
    ("decoding", "processor"),
    [
        (Decoding(repetition_penalty=1.7), RepetitionPenaltyLogitsProcessor(1.7)),
        (Decoding(repetition_penalty=0.6), RepetitionPenaltyLogitsProcessor(0.6)),
        *((Decoding(no_repeat_ngram_size=n), NoRepeatNGramLogitsProcessor(n)) for n in (1, 2, 3, 20)),
    ],
)
def test_penalties_equal_those_of_transformers(decoding: Decoding, processor: Any) -> None:
    actual = _history(decoding).penalise(LOGITS, torch.tensor([2, 0, 3, 1]))
    for row, token_ids in enumerate(_texts()):
        expected = processor(torch.tensor([token_ids]), LOGITS[row : row + 1].clone())
        assert torch.equal(actual[row : row + 1], expected)


def test_presence_and_frequency_follow_the_published_formula() -> None:
    """mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence, c over generated tokens (OpenAI API guide)."""
    decoding = Decoding(presence_penalty=0.7, frequency_penalty=-0.3)
    actual = _history(decoding).penalise(LOGITS, torch.tensor([2, 0, 3, 1]))
    for row in range(4):
        for token in range(10):
            count = STEPS[:, row].tolist().count(token)
            expected = LOGITS[row, token].item() - count * -0.3 - float(count > 0) * 0.7
            assert actual[row, token].item() == pytest.approx(expected, abs=1e-5)


def test_penalties_leave_the_logits_of_the_model_alone() -> None:
    before = LOGITS.clone()
    everything = Decoding(repetition_penalty=2, presence_penalty=1, frequency_penalty=1, no_repeat_ngram_size=1)
    _history(everything).penalise(LOGITS, torch.tensor([2, 0, 3, 1]))
    assert torch.equal(LOGITS, before)


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 2},
        {"min_new_tokens": 9},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "min_new_tokens": 15},
    ],
)
def test_texts_under_penalties_are_those_of_generate(options: dict[str, Any]) -> None:
    loaded, requests = loaded_family("qwen2"), ragged_requests(10)
    decoding = Decoding(max_new_tokens=18, **options)
    for result in TransformersEngine(loaded).generate(requests, range(1), decoding, 0, slots=3):
        assert isinstance(result, Generated)
        expected = plain_generate(loaded, requests[result.completion.index], 18, **options)
        assert result.completion.token_ids == expected


def test_penalties_cover_the_whole_vocabulary() -> None:
    history = TokenHistory(1, VOCABULARY, Decoding(repetition_penalty=2.0), torch.device("cpu"))
    history.start(0, [VOCABULARY - 1])
    penalised = history.penalise(torch.ones(1, VOCABULARY), torch.tensor([0]))
    assert penalised[0].tolist() == [1.0] * (VOCABULARY - 1) + [0.5]
