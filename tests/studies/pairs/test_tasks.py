"""Task files and word banks: what they must hold, and that the shipped ones hold it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from latentext.errors import SpecError
from latentext.studies.pairs import PairTokenizer, failing_examples, load_bank, load_task
from latentext.studies.pairs.documents import PACKAGE

TASKS = ("refusal", "sentiment")
Tokenizers = tuple[PairTokenizer, ...]


def document(name: str = "refusal") -> dict[str, object]:
    loaded = yaml.safe_load((PACKAGE / "tasks" / f"{name}.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def written(folder: Path, content: object, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("name", TASKS)
def test_every_shipped_example_is_a_valid_pair(name: str, tokenizers: Tokenizers) -> None:
    task = load_task(name)
    assert len(task.examples) >= 5
    assert list(failing_examples(task, tokenizers)) == []


def test_loading_says_which_example_is_no_valid_pair(
    tmp_path: Path, tokenizers: Tokenizers, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"safe": "Help me bake a cake", "harmful": "Help me make a bomb"}
    path = written(tmp_path, document() | {"examples": [*document()["examples"], wrong]})  # type: ignore[misc]
    with caplog.at_level(logging.WARNING):
        load_task(str(path), tokenizers=tokenizers)
    assert [record.getMessage() for record in caplog.records] == [
        "mine.yaml: example 6 is no valid pair: qwen2, single_token: 2 of 26 tokens differ: ' bake'/' make', "
        "' cake'/' bomb' (several-differences)"
    ]


def test_the_sides_have_free_names_and_key_the_examples() -> None:
    task = load_task("sentiment")
    assert task.sides == ("positive", "negative")
    assert task.example_pairs[0] == ("I love this product", "I hate this product")
    assert task.forms[0].text("I love it") == (
        "Classify the sentiment as Positive or Negative.\nI love it.\nSentiment: "
    )


def test_the_sides_are_safe_and_harmful_where_a_file_does_not_say(tmp_path: Path) -> None:
    without = {key: value for key, value in document().items() if key not in ("sides", "answers")}
    assert load_task(str(written(tmp_path, without))).sides == ("safe", "harmful")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"templates": None}, "templates is missing"),
        ({"batch_size": None}, "batch_size is missing"),
        ({"examples": None, "description": None}, "description is missing; examples is missing"),
        ({"templates": {"single_token": {"prefix": ""}}}, "templates.single_token.suffix is missing"),
        ({"exmples": []}, "exmples is not a key of this file"),
        ({"examples": [{"safe": "a"}]}, "examples.0 has the keys ['safe'], not ['harmful', 'safe']"),
        ({"batch_size": 0}, "batch_size Input should be greater than or equal to 1"),
        ({"sides": ["same", "same"]}, "sides must be two different names"),
    ],
)  # fmt: skip
def test_a_wrong_task_file_is_refused_by_the_name_of_the_key(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    changed = {key: value for key, value in (document() | change).items() if value is not None}
    with pytest.raises(SpecError) as raised:
        load_task(str(written(tmp_path, changed)))
    assert message in str(raised.value)
    assert "mine.yaml" in str(raised.value)


@pytest.mark.parametrize("content", ["a: [", "", "- 1\n- 2\n"])
def test_a_file_that_is_no_mapping_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"mine\.yaml: (is not YAML|holds no keys)"):
        load_task(str(written(tmp_path, content)))


def test_an_unknown_task_names_the_known_ones(tmp_path: Path) -> None:
    written(tmp_path, document(), "tasks/own.yaml")
    with pytest.raises(SpecError, match="known: own, refusal, sentiment"):
        load_task("refusals", config_dir=tmp_path)


def test_a_users_folder_is_looked_at_first(tmp_path: Path) -> None:
    written(tmp_path, document() | {"description": "mine"}, "tasks/refusal.yaml")
    assert load_task("refusal", config_dir=tmp_path).description == "mine"
    assert load_task("sentiment", config_dir=tmp_path).description != "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": {"a": {"meaning": "", "frames": ["no gap"]}}}, "the frame 'no gap' needs exactly one {}"),
        ({"words": {"topic": {"b": ["x/y"]}}}, "words.topic: no slot is named 'b'; there are a"),
        ({"words": {"topic": {"a": ["x-y"]}}}, "words.topic.a: 'x-y' is not first/second"),
        ({"words": {"topic": {"a": ["x/x"]}}}, "words.topic.a: 'x/x' is not first/second"),
        ({"words": None}, "words is missing"),
    ],
)
def test_a_wrong_bank_is_refused_by_what_does_not_fit(change: dict[str, object], message: str, tmp_path: Path) -> None:
    bank = {
        "task_name": "refusal",
        "slots": {"a": {"meaning": "a thing", "frames": ["Buy a {}"]}},
        "words": {"topic": {"a": ["cake/bomb"]}},
    }
    assert len(list(load_bank(str(written(tmp_path, bank))).candidates())) == 1
    changed = {key: value for key, value in (bank | change).items() if value is not None}
    with pytest.raises(SpecError) as raised:
        load_bank(str(written(tmp_path, changed)))
    assert message in str(raised.value)
