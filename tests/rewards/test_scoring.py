"""Scoring many rewards: each text once, one model at a time, and identities that change when numbers would."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from latentext.errors import SpecError
from latentext.models import model_fingerprint, resolve_model
from latentext.prompts.tokenizer import load_tokenizer, tokenizer_fingerprint
from latentext.rewards import Candidate, parse_reward, parse_rewards, reward_settings, score, score_name
from latentext.rewards.encoding import reward_model_identity
from latentext.rewards.entries import ClassifierReward, PerplexityReward, WordsReward

COUNTING = """
import gc
from transformers import PreTrainedModel
from latentext.rewards import reward

calls = 0

@reward("models-in-memory")
def models_in_memory(candidate):
    return sum(issubclass(type(thing), PreTrainedModel) for thing in gc.get_objects())

@reward("calls")
def count_calls(candidate):
    global calls
    calls += 1
    return calls
"""


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    path = tmp_path / "counting.py"
    path.write_text(COUNTING)
    return path


def test_a_rewards_model_is_gone_before_the_next_one_loads(
    counting: Path, gpt2: Path, distilbert: Path, simcse: Path, candidates: list[Candidate]
) -> None:
    def probe(name: str) -> dict[str, str]:
        return {"name": name, "function": f"{counting}:models_in_memory"}

    entries = [
        probe("before"),
        {"name": "a", "classifier": str(gpt2)},
        probe("after-a"),
        {"name": "b", "classifier": str(distilbert)},
        {"name": "c", "embedding": str(simcse)},
        probe("after-c"),
    ]
    found = score(candidates[:2], parse_rewards(entries), device="cpu")
    assert (found["after-a"] == found["before"]).all()
    assert (found["after-c"] == found["before"]).all()


def test_equal_texts_are_scored_once_and_stand_in_their_places(counting: Path) -> None:
    texts = [Candidate("a", "x"), Candidate("a", "y"), Candidate("a", "x"), Candidate("b", "x")]
    found = score(texts, [parse_reward(f"{counting}:count_calls")])["calls"]
    assert found.tolist() == [1.0, 2.0, 1.0, 3.0]


def test_a_cache_is_read_and_filled_by_reward_identity_and_text(counting: Path) -> None:
    reward = parse_reward(f"{counting}:count_calls")
    cache: dict[tuple[str, str], float] = {}
    first = score([Candidate("a", "x"), Candidate("a", "y")], [reward], cache=cache)["calls"]
    again = score([Candidate("a", "y"), Candidate("a", "z"), Candidate("a", "x")], [reward], cache=cache)["calls"]
    # The file is imported anew, so its count begins again: only the new text was scored.
    assert again.tolist() == [first[1], 1.0, first[0]]
    assert {name for name, _ in cache} == {score_name("calls", reward_settings(reward))}


def test_a_cached_reward_loads_no_model(distilbert: Path, candidates: list[Candidate], tmp_path: Path) -> None:
    folder = shutil.copytree(distilbert, tmp_path / "model")
    reward = ClassifierReward(name="r", classifier=str(folder))
    cache: dict[tuple[str, str], float] = {}
    first = score(candidates, [reward], device="cpu", cache=cache)
    counted = score(candidates, [reward], device="no such device", cache=cache)
    np.testing.assert_array_equal(first["r"], counted["r"])


def test_no_candidates_give_no_scores() -> None:
    assert score([], parse_rewards(["length"]))["length"].tolist() == []


def test_a_name_is_the_rewards_own_and_eight_hex_digits() -> None:
    name, _, digits = score_name("gpt2-harmless", {"version": 1}).rpartition("-")
    assert name == "gpt2-harmless"
    assert len(digits) == 8
    assert set(digits) <= set("0123456789abcdef")


def test_a_renamed_reward_and_a_moved_model_keep_their_identity(distilbert: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(distilbert, tmp_path / "elsewhere")
    first = ClassifierReward(name="a", classifier=str(distilbert), logit=1)
    second = ClassifierReward(name="b", classifier=str(moved), logit=1)
    assert reward_settings(first) == reward_settings(second)


@pytest.mark.parametrize("change", [{"logit": 0}, {"input": "continuation"}, {"dtype": "bfloat16"}])
def test_another_option_of_a_classifier_is_another_reward(distilbert: Path, change: dict[str, object]) -> None:
    reward = ClassifierReward(name="a", classifier=str(distilbert), logit=1)
    assert reward_settings(reward) != reward_settings(reward.model_copy(update=change))


def test_other_weights_are_another_reward(distilbert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(distilbert, tmp_path / "trained")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.bias += 1e-3
    model.save_pretrained(folder)
    trained = ClassifierReward(name="a", classifier=str(folder))
    assert reward_settings(trained) != reward_settings(ClassifierReward(name="a", classifier=str(distilbert)))


@pytest.mark.parametrize("change", [{"model_max_length": 7}, {"truncation_side": "left"}])
def test_where_long_texts_are_cut_makes_another_reward(
    distilbert: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    copy = Path(shutil.copytree(distilbert, tmp_path / "copy"))
    before = reward_model_identity(str(copy), None)
    # As 0.1.0 made it of a model whose tokenizer cuts nowhere before the model itself would.
    source = resolve_model(str(copy))
    parts = f"{model_fingerprint(source)} {tokenizer_fingerprint(load_tokenizer(source))}"
    assert before == hashlib.sha256(parts.encode()).hexdigest()[:32]
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert reward_model_identity(str(copy), None) != before


def test_a_function_is_identified_by_its_file_or_by_its_version(tmp_path: Path) -> None:
    source = 'from latentext.rewards import reward\n@reward("r"{version})\ndef r(candidate):\n    return {number}\n'
    names = []
    for number, version in ((0, ""), (1, ""), (0, ', version="2"'), (1, ', version="2"')):
        path = tmp_path / f"file{len(names)}.py"
        path.write_text(source.format(number=number, version=version))
        names.append(score_name("r", reward_settings(parse_reward(f"{path}:r"))))
    assert names[0] != names[1]
    assert names[2] == names[3]


def test_a_word_list_is_identified_by_its_words() -> None:
    polite = WordsReward(name="polite", words=["please", "thanks"])
    assert reward_settings(polite) == reward_settings(WordsReward(name="p", words={"thanks": 1, "please": 1}))
    assert reward_settings(polite) != reward_settings(WordsReward(name="polite", words=["please"]))


def test_perplexity_hangs_on_the_model_that_wrote_the_texts() -> None:
    reward = PerplexityReward(name="perplexity")
    assert reward_settings(reward, "model a") != reward_settings(reward, "model b")
    with pytest.raises(SpecError, match="reward perplexity depends on the model that wrote the texts"):
        reward_settings(reward)
