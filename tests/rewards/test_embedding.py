"""Coherence: the cosine of pooled outputs, each text embedded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from latentext.errors import SpecError
from latentext.rewards import BUILT_IN, Candidate, load_scorer
from latentext.rewards.entries import EmbeddingReward


def _reference(folder: Path, first: str, second: str) -> float:
    """As MAP's package: pooler outputs of prompt and stripped continuation, one text at a time."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        first_vector, second_vector = (
            model(**tokenizer(text, return_tensors="pt", truncation=True)).pooler_output[0] for text in (first, second)
        )
    return float(torch.nn.functional.cosine_similarity(first_vector, second_vector, dim=0))


@pytest.mark.parametrize("token_budget", [1, 100, 100_000])
def test_batched_cosines_equal_single_ones(simcse: Path, candidates: list[Candidate], token_budget: int) -> None:
    reward = EmbeddingReward(name="coherence", embedding=str(simcse))
    found = load_scorer(reward, device="cpu", token_budget=token_budget)(candidates)
    expected = [_reference(simcse, candidate.prompt, candidate.text.strip()) for candidate in candidates]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (np.abs(found) <= 1 + 1e-12).all()


def test_a_text_is_perfectly_coherent_with_itself(simcse: Path) -> None:
    scorer = load_scorer(EmbeddingReward(name="coherence", embedding=str(simcse)), device="cpu")
    assert scorer([Candidate("The film was great.", "\nThe film was great. ")])[0] == pytest.approx(1.0)


def test_the_built_in_model_is_the_published_one() -> None:
    assert BUILT_IN["coherence"].embedding == "princeton-nlp/sup-simcse-bert-base-uncased"


def test_a_model_without_a_pooled_output_is_refused(gpt2: Path) -> None:
    scorer = load_scorer(EmbeddingReward(name="coherence", embedding=str(gpt2)), device="cpu")
    with pytest.raises(SpecError, match="has no pooled output"):
        scorer([Candidate("a", "b")])
