"""Corpora of completions: their rows, the cleaning of dialogues, task prompts by number, a user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentext.errors import SpecError
from latentext.models.registry import VARIABLE
from latentext.prompts.completion_corpora import clean_dialogue, completion_corpora, task_template
from latentext.prompts.conversations import Conversation, Conversations, open_conversations
from latentext.prompts.rows import BadRow
from latentext.spec.files import load_spec
from latentext.word_count import count_words, measure_words

ROWS = [
    {"id": "a", "source": "A cat.", "human_completions": "It sat."},
    {"id": "b", "source": "A dog.", "human_completions": "It ran.", "annotations": {"mood": 1}},
]


def chats_of(folder: Path, **prompts: object) -> Conversations:
    return open_conversations(load_spec({"prompts": prompts}).prompts, 0, folder / "index")


def write_rows(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def variables_of(chats: Conversations, number: int) -> dict[str, object]:
    chat = chats[number]
    assert isinstance(chat, Conversation)
    return dict(chat.variables)


def test_cleaning_the_raw_dialogues_gives_the_published_files_exactly(materials: Path, tmp_path: Path) -> None:
    """Source: the raw rows of DailyDialog and the cleaned ones, 500 each, as rbroc/echo publishes them."""
    chats = chats_of(
        tmp_path, corpus="dailydialog", task=21, file=str(materials / "prompts" / "dailydialog-500-raw.ndjson")
    )
    published = (materials / "prompts" / "dailydialog-500.ndjson").read_text().splitlines()
    assert [json.dumps(variables_of(chats, number), ensure_ascii=False) for number in range(len(chats))] == published


def test_rows_that_are_clean_stay_as_they_are(materials: Path, tmp_path: Path) -> None:
    path = materials / "prompts" / "dailydialog-500.ndjson"
    chats = chats_of(tmp_path, corpus="dailydialog", task=21, file=str(path))
    published = path.read_text().splitlines()
    assert [json.dumps(variables_of(chats, number), ensure_ascii=False) for number in range(len(chats))] == published


def test_the_label_of_a_completion_follows_from_the_number_of_turns() -> None:
    assert clean_dialogue("One. [EOT] Two. [EOT] Three?", "Four!") == ("A: one. \nB: two. \nA: three?", "B: four!")


def test_the_limits_are_those_of_the_original_and_hold_for_its_texts(materials: Path) -> None:
    """Source: the seed's table of limits; the 500 texts here are between 4 and 108 words (materials/README.md)."""
    limits = {name: corpus.limits for name, corpus in completion_corpora().items()}
    assert limits == {
        "dailydialog": (4, 112),
        "dailymail_cnn": (6, 433),
        "mrpc": (8, 47),
        "stories": (112, 1055),
    }
    lines = (materials / "prompts" / "dailydialog-500.ndjson").read_text().splitlines()
    found = measure_words([json.loads(line)["human_completions"] for line in lines])
    assert (found.texts, found.fewest, found.most) == (500, 4, 108)


def test_words_are_those_of_spacys_blank_english_tokenizer() -> None:
    """Source: `len(spacy.blank("en")(text))`."""
    import spacy

    texts = ["A: i don't know.", 'He said: "U.S. 2.5% (net)"...', "", "  two  spaces\n"]
    assert count_words(texts) == [len(spacy.blank("en")(text)) for text in texts]


def test_task_prompts_have_the_numbers_of_the_original() -> None:
    """Source: the seed's table of prompts, and the issue's list of numbers."""
    prompts = {name: corpus.prompts for name, corpus in completion_corpora().items()}
    assert {name: list(numbered) for name, numbered in prompts.items()} == {
        "dailydialog": [1, 2, 3, 4, 5, 6, 7, 8, 21],
        "dailymail_cnn": [1, 2, 3, 4, 5, 6, 21],
        "mrpc": [1, 2, 3, 4, 21],
        "stories": [1, 2, 3, 4, 5, 6, 21, 22],
    }
    assert prompts["dailymail_cnn"][21] == "summarize this in a few sentences: "
    assert prompts["mrpc"][21] == "paraphrase this: "
    assert prompts["stories"][21] == "write a story based on this: "
    assert prompts["dailydialog"][21] == (
        "continue the conversation between A and B by writing a single response to the latest speaker. "
        "write only a concise response and nothing else: "
    )
    wordings = [text for numbered in prompts.values() for text in numbered.values()]
    assert len(set(wordings)) == len(wordings)


def test_a_task_prompt_stands_before_the_source(tmp_path: Path) -> None:
    chats = chats_of(tmp_path, corpus="mrpc", task=21, file=write_rows(tmp_path / "d.jsonl", ROWS))
    chat = chats[0]
    assert isinstance(chat, Conversation)
    assert chat.messages == [{"role": "user", "content": "paraphrase this: A cat."}]
    assert variables_of(chats, 1) == ROWS[1]


def test_an_unknown_number_or_corpus_is_refused_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="mrpc has no prompt 5; its prompts are: 1, 2, 3, 4, 21"):
        task_template("mrpc", 5)
    with pytest.raises(SpecError, match=r"no corpus is called 'tales'; known are .*dailydialog, dailymail_cnn"):
        chats_of(tmp_path, corpus="tales")


def test_other_columns_are_mapped_and_missing_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("title,poem\nSpring,It blooms.\n")
    columns = {"source": "title", "human_completions": "poem"}
    chats = chats_of(tmp_path, corpus="stories", task=1, file=str(path), columns=columns)
    assert variables_of(chats, 0) == {"id": "stories-0", "source": "Spring", "human_completions": "It blooms."}
    with pytest.raises(SpecError, match=r"no column 'human_completions' or 'source'|no column 'prompt' or 'story'"):
        chats_of(tmp_path, corpus="stories", task=1, file=str(path))


def test_an_empty_source_is_that_rows_failure_alone(tmp_path: Path) -> None:
    rows = [ROWS[0], {"id": "c", "source": " ", "human_completions": "x"}, {"id": "d", "source": 3}, ROWS[1]]
    chats = chats_of(tmp_path, corpus="mrpc", task=1, file=write_rows(tmp_path / "d.jsonl", rows))
    found = [chats[number] for number in range(4)]
    assert [chat.reason if isinstance(chat, BadRow) else "" for chat in found] == [
        "",
        "empty-source",
        "not-a-string",
        "",
    ]
    assert isinstance(found[1], BadRow)
    assert found[1].message == "row 1 (c): the source is empty"


def test_a_doubled_id_is_refused_and_both_rows_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", [*ROWS, ROWS[0]])
    with pytest.raises(SpecError, match="rows 0 and 2 both have the id 'a'"):
        chats_of(tmp_path, corpus="mrpc", task=1, file=path)
    assert len(chats_of(tmp_path, corpus="mrpc", task=1, file=path, limit=2)) == 3


def test_a_corpus_of_ones_own_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poems.csv").write_text("title,poem,kind\nSpring,It blooms.,haiku\nWar,No.,ode\nRain,Drip.,haiku\n")
    (tmp_path / "latentext.yaml").write_text(
        "corpora:\n  poems:\n    file: poems.csv\n    columns: {source: title, human_completions: poem}\n"
        "    only: {kind: haiku}\n    prompts: {1: 'a {haiku} about '}\n"
    )
    monkeypatch.setenv(VARIABLE, str(tmp_path / "latentext.yaml"))
    chats = chats_of(tmp_path, corpus="poems", task=1)
    chat = chats[1]
    assert len(chats) == 2
    assert isinstance(chat, Conversation)
    assert chat.messages[0]["content"] == "a {haiku} about Rain"


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{columns: {source: a}}", "either hub or file"),
        ("{file: a.csv, columns: {text: a}}", "columns"),
        ("{file: a.csv, limits: [5, 2]}", "5 is above 2"),
        ("{file: a.csv, clean: dialogue}", "fields are hub, file"),
    ],
)
def test_an_entry_with_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, complaint: str
) -> None:
    (tmp_path / "r.yaml").write_text(f"corpora: {{poems: {entry}}}")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "r.yaml"))
    with pytest.raises(SpecError, match=complaint):
        completion_corpora()


def test_turns_of_a_list_become_a_labelled_dialogue(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"dialog": ["Hi! ", " Hello.", "Bye."]}, {"dialog": ["Alone"]}]
    chats = chats_of(tmp_path, corpus="dailydialog", task=1, file=write_rows(tmp_path / "d.jsonl", rows))
    assert variables_of(chats, 0) == {
        "id": "dailydialog-0",
        "source": "A: hi! \nB: hello.",
        "human_completions": "A: bye.",
    }
    assert isinstance(chats[1], BadRow)
