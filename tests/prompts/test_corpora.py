"""Named corpora from files: the published prompts, in their order, at any place without those before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentext.errors import SpecError
from latentext.prompts.conversations import Conversation, Conversations, open_conversations
from latentext.prompts.rows import BadRow
from latentext.run.runner import make_dataset
from latentext.spec import Spec
from latentext.spec.files import load_spec

REVIEW = "A review of some length, number {}, of a film that nobody saw to its end."


def corpus(folder: Path, seed: int = 0, **prompts: object) -> Conversations:
    return open_conversations(load_spec({"prompts": prompts}).prompts, seed, folder / "index")


def prompts_of(chats: Conversations) -> list[str]:
    found = [chats[number] for number in range(len(chats))]
    return [chat.messages[-1]["content"] if isinstance(chat, Conversation) else f"! {chat.reason}" for chat in found]


def lines(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_local_copy_gives_the_published_prompts(
    materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source: the prompts of wang8740/MAP's result file, in the same order."""
    monkeypatch.setenv("LATENTEXT_MATERIALS", str(materials))
    chats = corpus(tmp_path, corpus="Anthropic-harmless")
    published = json.loads((materials / "rewards" / "opt1.3b-Anthropic-harmless.json").read_text())
    assert prompts_of(chats) == [row["prompt"] for row in published]


def test_a_file_beside_the_corpus_is_read_instead(tmp_path: Path) -> None:
    rows = [{"chosen": f"Human: {word}?\n\nAssistant: no."} for word in ("why", "how")]
    assert prompts_of(corpus(tmp_path, corpus="Anthropic-harmless", file=lines(tmp_path / "d.jsonl", rows))) == [
        "why?",
        "how?",
    ]


def test_a_dialogue_without_a_marker_is_recorded_and_the_others_are_written(tmp_path: Path) -> None:
    rows = [{"chosen": "Human: why?\n\nAssistant: no."}, {"chosen": "no marks"}, {"text": "another column"}]
    file = lines(tmp_path / "d.jsonl", rows)
    assert prompts_of(corpus(tmp_path, corpus="Anthropic-harmless", file=file)) == [
        "why?",
        "! no-prompt-marker",
        "! not-a-string",
    ]
    spec = Spec(
        prompts={"corpus": "Anthropic-harmless", "file": file, "use_chat_template": False, "limit": 2},
        decoding={"max_new_tokens": 3},
    )
    summary = make_dataset(spec, tmp_path / "data")
    assert (summary.accepted, summary.failed, summary.exit_code) == (1, 1, 4)
    failure = json.loads((tmp_path / "data" / "failures.jsonl").read_text())
    assert (failure["index"], failure["reason"]) == (1, "no-prompt-marker")


def test_reviews_are_numbered_without_short_ones_and_end_at_a_thousand(tmp_path: Path) -> None:
    rows = [{"text": "Too short."} if i % 3 == 1 else {"text": REVIEW.format(i)} for i in range(1600)]
    file = lines(tmp_path / "r.jsonl", rows)
    chats = corpus(tmp_path, corpus="Imdb", file=file)
    found = prompts_of(chats)
    assert len(found) == 1000 and not any(prompt.startswith("!") for prompt in found)
    longer = [REVIEW.format(i) for i in range(1600) if i % 3 != 1]
    assert all(review.startswith(prompt) for prompt, review in zip(found, longer, strict=False))
    alone = chats[700]
    assert isinstance(alone, Conversation) and alone.messages[-1]["content"] == found[700]
    assert prompts_of(corpus(tmp_path, seed=1, corpus="Imdb", file=file)) != found


def test_a_review_that_is_no_text_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"text": REVIEW}) + '\n{"text": 5}\n')
    bad = corpus(tmp_path, corpus="Imdb", file=str(tmp_path / "r.jsonl"))[1]
    assert isinstance(bad, BadRow) and bad.reason == "not-a-string"


@pytest.mark.parametrize(
    ("prompts", "line"),
    [
        ({"corpus": "Imbd"}, "prompts.corpus: no corpus is called 'Imbd'; known are Anthropic-harmless, Imdb"),
        ({"corpus": "Imdb", "file": "short.jsonl"}, "corpus: no review of more than 30 characters"),
        ({"corpus": "Imdb", "file": "other.jsonl"}, "corpus Imdb: no column 'Text' or 'review' or 'text' in the rows"),
        ({"corpus": "Imdb"}, "corpus Imdb: no local copy imdb-paired-dev.tsv, and stanfordnlp/imdb: "),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    prompts: dict[str, str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTEXT_MATERIALS", str(tmp_path))
    lines(tmp_path / "short.jsonl", [{"text": "Short."}])
    lines(tmp_path / "other.jsonl", [{"body": REVIEW}])
    with pytest.raises(SpecError) as caught:
        corpus(tmp_path, **prompts)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_corpus_stands_beside_a_file_but_beside_no_other_source() -> None:
    with pytest.raises(SpecError, match="one source of rows, not list and corpus"):
        load_spec({"prompts": {"corpus": "Imdb", "list": ["a"]}})
    with pytest.raises(SpecError, match="one source of rows"):
        load_spec({"prompts": {"corpus": "Imdb", "file": "a", "hub": "b"}})
