"""Reward models with a chat template read chats as the template writes them; others read raw text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from latentext.errors import SpecError
from latentext.models import resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.rewards import Candidate, candidates_of, load_scorer, reward_settings
from latentext.rewards.entries import ClassifierReward

QUESTION = "How much alcohol can I drink per day?"
ANSWER = "None is best.\nOne glass is little."
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": QUESTION},
]


def _folder(folder: Path, tokenizer: Any) -> Path:
    """A Skywork-like model: Llama with one label, and a tokenizer with a chat template."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        num_labels=1,
        pad_token_id=0,
    )
    model = LlamaForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def skywork(materials: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Skywork-Reward-Llama-3.1-8B: the template of Llama 3.1, which prints a fixed date."""
    tokenizer = load_tokenizer(resolve_model("tiny"))
    tokenizer.chat_template = (
        materials / "chat-templates" / "llamacpp.meta-llama-Llama-3.1-8B-Instruct.jinja"
    ).read_text()
    return _folder(tmp_path_factory.mktemp("skywork"), tokenizer)


def _by_transformers(folder: Path, messages: list[dict[str, str]]) -> float:
    """As Skywork's model card does it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = tokenizer(tokenizer.apply_chat_template(messages, tokenize=False), add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        return float(model(torch.tensor([ids])).logits[0, 0])


def test_a_reward_model_with_a_chat_template_reads_the_answer_in_it(skywork: Path) -> None:
    asked = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    other = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because so, and for long."}]
    scorer = load_scorer(ClassifierReward(name="r", classifier=str(skywork)), device="cpu")
    found = scorer([Candidate(QUESTION, ANSWER, "\n"), Candidate("Why?", "Because so, and for long.", "\n")])
    np.testing.assert_allclose(found, [_by_transformers(skywork, asked), _by_transformers(skywork, other)], rtol=1e-4)
    raw = load_scorer(ClassifierReward(name="r", classifier=str(skywork), input="full_text"), device="cpu")
    assert abs(raw([Candidate(QUESTION, ANSWER, "\n")])[0] - found[0]) > 0.01


def test_every_turn_that_was_asked_is_read_with_the_answer(skywork: Path) -> None:
    record = {"prompt": "<rendered>", "messages": json.dumps(CHAT), "text": ANSWER}
    alone = {"prompt": "<rendered>", "messages": json.dumps(CHAT[-1:]), "text": ANSWER}
    candidates = list(candidates_of([record, alone]))
    assert candidates[0].key != candidates[1].key
    found = load_scorer(ClassifierReward(name="r", classifier=str(skywork)), device="cpu")(candidates)
    answer = {"role": "assistant", "content": ANSWER}
    expected = [_by_transformers(skywork, [*CHAT, answer]), _by_transformers(skywork, [CHAT[-1], answer])]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert abs(expected[0] - expected[1]) > 0.001


def test_a_template_that_prints_todays_date_gives_the_same_score_tomorrow(materials: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(materials / "tokenizers" / "llama-3.2-instruct")
    folder = _folder(tmp_path, tokenizer)
    dated = tokenizer.apply_chat_template(CHAT[-1:], tokenize=False)
    assert "Today Date" in dated
    scorer = load_scorer(ClassifierReward(name="r", classifier=str(folder)), device="cpu")
    [ids] = [encoding["input_ids"] for encoding in scorer.loaded.encode_chats([Candidate(QUESTION, ANSWER).chat])]  # type: ignore[attr-defined]
    text = tokenizer.decode(ids)
    assert "Today" not in text and text.endswith(
        f"{QUESTION}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{ANSWER}<|eot_id|>"
    )
    assert ids.count(tokenizer.bos_token_id) == 1


def test_the_form_is_part_of_the_rewards_identity_and_raw_text_keeps_that_of_0_1_0(skywork: Path, gpt2: Path) -> None:
    forms = {
        form: reward_settings(ClassifierReward(name="r", classifier=str(skywork), input=form))
        for form in ("auto", "full_text", "continuation", "pair")
    }
    assert [settings["input"] for settings in forms.values()] == ["chat", "full_text", "continuation", "pair"]
    assert len({json.dumps(settings) for settings in forms.values()}) == 4
    plain = reward_settings(ClassifierReward(name="r", classifier=str(gpt2)))
    of_0_1_0 = {"version": 1, "logit": 0, "input": "full_text", "question": "{prompt}", "dtype": "float32"}
    assert {name: value for name, value in plain.items() if name != "classifier"} == of_0_1_0


def test_a_text_beyond_the_models_length_is_cut_in_a_chat_too(skywork: Path) -> None:
    scorer = load_scorer(ClassifierReward(name="r", classifier=str(skywork)), device="cpu")
    long, longer = scorer([Candidate("It was", " so boring" * 600), Candidate("It was", " so boring" * 900)])
    assert np.isfinite(long) and long == pytest.approx(longer)


def test_a_template_that_refuses_an_answer_is_named_with_the_way_out(skywork: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(skywork, tmp_path / "refusing"))
    refusing = "{{ raise_exception('only user turns') }}"
    (folder / "chat_template.jinja").write_text(refusing)
    scorer = load_scorer(ClassifierReward(name="r", classifier=str(folder)), device="cpu")
    with pytest.raises(SpecError, match=r"reward r: .*only user turns; give the reward input: full_text"):
        scorer([Candidate(QUESTION, ANSWER)])
