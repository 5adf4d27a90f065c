"""Entries of a spec's `rewards`: read, refused by name, and loaded from the user's own files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latentext.errors import LatentextError, SpecError
from latentext.rewards import BUILT_IN, Candidate, load_scorer, parse_reward, parse_rewards
from latentext.rewards.functions import load_function

FUNCTIONS = """
from latentext.rewards import reward

@reward("exclamations")
def exclamations(candidate):
    return candidate.text.count("!")

@reward("broken")
def broken(candidate):
    raise KeyError("no such word")

def unmarked(candidate):
    return 0.0
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "my_rewards.py"
    path.write_text(FUNCTIONS)
    return path


def test_maps_values_are_known_by_name() -> None:
    published = (
        "humor",
        "positive",
        "gpt2-helpful",
        "gpt2-harmless",
        "harmless",
        "diversity",
        "coherence",
        "perplexity",
    )
    assert {reward.name for reward in parse_rewards(published)} == set(published)
    assert all(name == reward.name for name, reward in BUILT_IN.items())


def test_a_function_is_a_reward_by_its_mark_in_a_file(functions: Path) -> None:
    reward = parse_reward(f"{functions}:exclamations")
    assert reward.name == "exclamations"
    assert load_scorer(reward)([Candidate("Hi!", " there!!")]).tolist() == [2.0]


def test_a_function_is_found_in_a_module_too(functions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(functions.parent))
    renamed = parse_reward({"name": "loud", "function": "my_rewards:exclamations"})
    assert renamed.name == "loud"
    assert load_scorer(renamed)([Candidate("", "a!")]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{file}:unmarked", r"'unmarked' is no function marked @reward\(name\); marked are: exclamations, broken"),
        ("{file}:absent", "'absent' is no function marked"),
        ("absent.py:function", "absent.py: no such file"),
        ("no_such_module_anywhere:function", "cannot import no_such_module_anywhere"),
        (":function", "write module:function or file.py:function"),
    ],
)
def test_a_function_that_is_not_there_is_named(functions: Path, path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_function(path.format(file=functions))


def test_a_file_that_does_not_compile_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (:")
    with pytest.raises(SpecError, match=r"bad\.py: cannot be imported"):
        load_function(f"{tmp_path / 'bad.py'}:function")


def test_a_function_that_fails_is_told_with_the_text_it_failed_on(functions: Path) -> None:
    scorer = load_scorer(parse_reward(f"{functions}:broken"))
    with pytest.raises(LatentextError, match=r"reward broken failed on the text ' so\.': KeyError: 'no such word'"):
        scorer([Candidate("Why", " so.")])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("sentimnet", r"unknown reward 'sentimnet'; did you mean sentiment\?"),
        ("xyzzy", "unknown reward 'xyzzy'; known are sentiment, length"),
        ({"name": "r"}, "a reward is one of function, words, classifier, embedding, perplexity, not none"),
        ({"name": "r", "words": ["a"], "classifier": "m"}, "not words and classifier"),
        ({"name": "r", "classifier": "m", "logits": 1}, "reward r: logits: Extra inputs"),
        ({"name": "r", "classifier": "m", "logit": -1}, "reward r: logit"),
        ({"name": "r", "classifier": "m", "question": "Q:"}, r"question has no \{prompt\}"),
        ({"name": "a/b", "words": ["a"]}, "reward a/b: name"),
        ({"words": ["a"]}, r"reward \?: name: Field required"),
        ({"name": "r", "words": []}, "reward r: words"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused_in_one_line(entry: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse_reward(entry)
    assert "\n" not in str(caught.value)


def test_two_rewards_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="two rewards are named 'length'"):
        parse_rewards(["length", {"name": "length", "words": ["a"]}])


def test_sentiment_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    monkeypatch.delitem(sys.modules, "latentext.rewards.sentiment", raising=False)
    with pytest.raises(SpecError, match=r"pip install 'latentext\[rewards\]'"):
        load_scorer(parse_reward("sentiment"))


def test_reading_a_specs_rewards_loads_nothing_heavy() -> None:
    program = (
        "import sys; from latentext.rewards import parse_rewards, reward; parse_rewards(['humor', 'length']);"
        "print(*{'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "\n"
