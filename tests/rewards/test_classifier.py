"""Classifier rewards on the published architectures: the exact input, the right logit, batches that change nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from latentext.errors import SpecError
from latentext.rewards import BUILT_IN, Candidate, load_scorer
from latentext.rewards.classifier import classifier_inputs
from latentext.rewards.entries import ClassifierReward

PUBLISHED = {
    "humor": "distilbert",
    "positive": "distilbert",
    "gpt2-helpful": "gpt2",
    "gpt2-harmless": "gpt2",
    "harmless": "deberta",
}


def _reference(folder: Path, reward: ClassifierReward, first: str, second: str | None) -> float:
    """One text at a time, as the models' cards show it, without padding."""
    tokenizer, model = _load(folder)
    inputs = dict(tokenizer([first], None if second is None else [second], return_tensors="pt", truncation=True))
    if model.config.model_type == "distilbert":
        inputs.pop("token_type_ids")
    if not inputs["input_ids"].numel():
        inputs = {"input_ids": torch.tensor([[tokenizer.eos_token_id]])}
    with torch.no_grad():
        return float(model(**inputs).logits[0, reward.logit])


@cache
def _load(folder: Path) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder).eval()


def _local(name: str, folder: Path) -> ClassifierReward:
    reward = BUILT_IN[name]
    assert isinstance(reward, ClassifierReward)
    return reward.model_copy(update={"classifier": str(folder)})


# Sources: MAP's package for humor, positive and the two of GPT-2; the model card for harmless.
@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("humor", "Why? Because so. ", None),
        ("positive", "Why? Because so. ", None),
        ("gpt2-helpful", "\n\nHuman: Why? \n\nAssistant:", "Because so."),
        ("gpt2-harmless", "\n\nHuman: Why? \n\nAssistant:", "Because so."),
        ("harmless", "Why?", "Because so."),
    ],
)
def test_the_input_is_formatted_as_published(name: str, first: str, second: str | None) -> None:
    reward = BUILT_IN[name]
    assert isinstance(reward, ClassifierReward)
    expected = ([first], None if second is None else [second])
    assert classifier_inputs(reward, [Candidate("Why?", " Because so. ")]) == expected


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("token_budget", [1, 100, 100_000])
def test_batched_scores_equal_single_ones(
    name: str, token_budget: int, candidates: list[Candidate], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(PUBLISHED[name])
    reward = _local(name, folder)
    firsts, seconds = classifier_inputs(reward, candidates)
    expected = [_reference(folder, reward, *texts) for texts in zip(firsts, seconds or [None] * 6, strict=True)]
    found = load_scorer(reward, device="cpu", token_budget=token_budget)(candidates)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert len(set(found.round(3))) == len(candidates)


@pytest.mark.parametrize("logit", [0, 1])
def test_the_logit_asked_for_is_the_one_returned(distilbert: Path, candidates: list[Candidate], logit: int) -> None:
    reward = ClassifierReward(name="r", classifier=str(distilbert), logit=logit)
    expected = _reference(distilbert, reward, candidates[0].full_text, None)
    assert load_scorer(reward, device="cpu")(candidates[:1])[0] == pytest.approx(expected, rel=1e-4)


def test_a_logit_that_the_model_lacks_is_refused(deberta: Path) -> None:
    with pytest.raises(SpecError, match=r"reward r: logit 1 of a model with 1 \(0 to 0\)"):
        load_scorer(ClassifierReward(name="r", classifier=str(deberta), logit=1), device="cpu")


def test_a_text_that_ends_with_the_padding_token_is_read_to_its_end(gpt2: Path) -> None:
    """Comparing ids with the padding id would take the token before it for the last one."""
    reward = ClassifierReward(name="r", classifier=str(gpt2), input="continuation")
    texts = [Candidate("", "a joke<|endoftext|>"), Candidate("", "a much longer text that needs no padding at all")]
    expected = [_reference(gpt2, reward, text.continuation, None) for text in texts]
    without = _reference(gpt2, reward, "a joke", None)
    found = load_scorer(reward, device="cpu")(texts)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert abs(found[0] - without) > 0.01


@pytest.mark.parametrize("architecture", ["gpt2", "distilbert", "deberta"])
def test_a_text_beyond_the_models_length_is_truncated(architecture: str, request: pytest.FixtureRequest) -> None:
    reward = ClassifierReward(name="r", classifier=str(request.getfixturevalue(architecture)))
    scorer = load_scorer(reward, device="cpu")
    long, longer = scorer([Candidate("It was", " so boring" * 200), Candidate("It was", " so boring" * 300)])
    assert np.isfinite(long)
    assert long == pytest.approx(longer)


@pytest.mark.parametrize("architecture", ["gpt2", "distilbert", "deberta"])
def test_an_empty_text_has_a_score(architecture: str, request: pytest.FixtureRequest) -> None:
    reward = ClassifierReward(name="r", classifier=str(request.getfixturevalue(architecture)), input="continuation")
    assert np.isfinite(load_scorer(reward, device="cpu")([Candidate("Why?", "  \n")])).all()


def test_a_model_without_a_trained_head_is_refused(simcse: Path) -> None:
    """Transformers would fill the head with random numbers, and the scores would look like any others."""
    with pytest.raises(SpecError, match=r"no weights for classifier\.bias, classifier\.weight: it was not trained as"):
        load_scorer(ClassifierReward(name="r", classifier=str(simcse)), device="cpu")


def test_a_model_that_cannot_be_loaded_is_named_with_its_reward(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such folder"):
        load_scorer(ClassifierReward(name="r", classifier=str(tmp_path / "absent")), device="cpu")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SpecError, match=r"reward r: model .*cannot be loaded"):
        load_scorer(ClassifierReward(name="r", classifier=str(tmp_path)), device="cpu")
    with pytest.raises(SpecError, match=r"reward humor: model mohameddhiab/humor-no-humor: not in the local cache"):
        load_scorer(BUILT_IN["humor"], device="cpu")
