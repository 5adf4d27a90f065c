"""From a spec's prompts to chats: templates, system texts, chats given whole, and rows that give none."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentext.errors import SpecError
from latentext.prompts.conversations import Conversation, Conversations, open_conversations
from latentext.prompts.rows import BadRow
from latentext.spec import PromptSpec


def _chats(directory: Path, seed: int = 0, **prompts: object) -> Conversations:
    return open_conversations(PromptSpec(**prompts), seed, directory)


def _users(chats: Conversations) -> list[str]:
    return [chats[index].messages[-1]["content"] for index in range(len(chats))]


def test_a_template_is_filled_from_every_kind_of_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,id\nyes,1\nno,2\n")
    (tmp_path / "a.txt").write_text("yes\nno\n")
    sources = [
        {"template": "Say {text}.", "grid": {"text": ["yes", "no"]}},
        {"template": "Say {prompt}.", "list": ["yes", "no"]},
        {"template": "Say {text}.", "file": str(tmp_path / "a.csv")},
        {"template": "Say {word}.", "file": str(tmp_path / "a.txt"), "columns": {"word": "prompt"}},
    ]
    for number, source in enumerate(sources):
        assert _users(_chats(tmp_path / str(number), **source)) == ["Say yes.", "Say no."]


def test_a_template_without_gaps_and_rows_is_one_request(tmp_path: Path) -> None:
    assert _users(_chats(tmp_path, template="Tell a story.")) == ["Tell a story."]


@pytest.mark.parametrize("form", ["{ q }", "{q:10}", "{q.name}", "{q!r}", "{{q}}"])
@pytest.mark.parametrize("kind", ["grid", "list", "jsonl", "csv"])
def test_braces_around_a_column_that_put_nothing_in_are_refused(tmp_path: Path, form: str, kind: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "red"}\n{"q": "blue"}\n')
    (tmp_path / "a.csv").write_text("q\nred\nblue\n")
    rows = {
        "grid": {"grid": {"q": ["red", "blue"]}},
        "list": {"list": [{"q": "red"}, {"q": "blue"}]},
        "jsonl": {"file": str(tmp_path / "a.jsonl")},
        "csv": {"file": str(tmp_path / "a.csv")},
    }[kind]
    refusal = f"{form} is no gap: it would be sent as it stands; write {{q}} to put in the column 'q'"
    for where, wording in (
        ("prompts.template", {"template": f"Say {form} or {{q}}."}),
        ("prompts.templates.1", {"templates": ["Say {q}.", f"Write {form}."]}),
        ("prompts.system", {"template": "Say {q}.", "system": f"You like {form}."}),
    ):
        with pytest.raises(SpecError) as caught:
            _chats(tmp_path / where, **wording, **rows).refuse_idle_templates()
        assert str(caught.value) == f"{where}: {refusal}"


@pytest.mark.parametrize("form", ["{ other }", "{other.name}", '{"a": 1}', "int main() { return 0; }", "{}", "{0}"])
def test_braces_around_anything_else_are_text(tmp_path: Path, form: str) -> None:
    chats = _chats(tmp_path, template=f"{form} {{q}}", grid={"q": ["red"]})
    chats.refuse_idle_templates()
    assert _users(chats) == [f"{form} red"]


def test_a_template_without_a_gap_over_rows_that_have_columns_is_refused(tmp_path: Path) -> None:
    grid = {"q": ["red", "blue"], "n": {"range": [0, 50]}}
    with pytest.raises(SpecError) as caught:
        _chats(tmp_path, template="Tell a story. {}", grid=grid).refuse_idle_templates()
    assert str(caught.value) == (
        "prompts.template: has no gap, so all 100 rows would give the same prompt; put a column in, such as {q}, {n}; "
        "several samples of one prompt are decoding.n"
    )
    with pytest.raises(SpecError, match=r"prompts\.templates\.1: has no gap"):
        _chats(tmp_path, templates=["{q}", "Tell a story."], grid=grid).refuse_idle_templates()
    _chats(tmp_path, template="Tell a story.", system="You like {q}.", grid=grid).refuse_idle_templates()
    _chats(tmp_path, template="Tell a story.").refuse_idle_templates()


def test_each_template_goes_over_all_rows_in_turn(tmp_path: Path) -> None:
    chats = _chats(tmp_path, templates=["A {n}", "B {n}"], grid={"n": [1, 2]})
    assert _users(chats) == ["A 1", "A 2", "B 1", "B 2"]
    assert [chats[index].variables for index in (0, 3)] == [{"n": 1, "template": 0}, {"n": 2, "template": 1}]


def test_random_templates_hang_on_the_seed_and_the_row_alone(tmp_path: Path) -> None:
    def drawn(seed: int, rows: int) -> list[int]:
        grid = {"n": {"range": [0, rows]}}
        chats = _chats(tmp_path, seed, templates=["A{n}", "B{n}", "C{n}"], template_choice="random", grid=grid)
        assert len(chats) == rows
        return [chats[index].variables["template"] for index in range(rows)]

    assert drawn(0, 300) == drawn(0, 600)[:300]
    assert drawn(0, 300) != drawn(1, 300)
    # 300 even draws of three: each count has mean 100 and standard deviation 8.2.
    assert all(abs(count - 100) < 33 for count in Counter(drawn(0, 300)).values())


def test_the_system_text_is_filled_from_the_row(tmp_path: Path) -> None:
    chats = _chats(tmp_path, template="Hi.", system="You are {who}.", grid={"who": ["a poet", "a cook"]})
    assert chats[1].messages == [{"role": "system", "content": "You are a cook."}, {"role": "user", "content": "Hi."}]


def test_chats_in_a_file_are_taken_whole(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}]
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": chat, "id": 3}) + "\n")
    assert _chats(tmp_path, file=str(path))[0] == Conversation({"messages": chat, "id": 3}, chat)


@pytest.mark.parametrize(
    ("row", "prompts", "reason"),
    [
        ({"prompt": ""}, {}, "empty-prompt"),
        ({"prompt": " \n"}, {}, "empty-prompt"),
        ({"prompt": None}, {}, "empty-prompt"),
        ({"prompt": 5}, {}, "not-a-string"),
        ({"other": "a"}, {}, "bad-row"),
        ({"prompt": "a", "word": None}, {"template": "{word}"}, "bad-row"),
        ({"prompt": "a"}, {"template": "{word}"}, "bad-row"),
        ({"word": ["a"]}, {"template": "{word}"}, "not-a-string"),
        ({"word": ""}, {"template": "{word}"}, "empty-prompt"),
        ({"prompt": "a"}, {"system": "{word}"}, "bad-row"),
        ({"prompt": "half \ud800"}, {}, "bad-row"),
        ({"messages": []}, {}, "bad-row"),
        ({"messages": "hello"}, {}, "bad-row"),
        ({"messages": [{"content": "a"}]}, {}, "bad-row"),
        ({"messages": [{"role": "user", "content": None}]}, {}, "not-a-string"),
        ({"messages": [{"role": "system", "content": "a"}], "word": "b"}, {"system": "{word}"}, "bad-row"),
    ],
)
def test_a_row_that_gives_no_prompt_says_why_and_costs_no_other(
    tmp_path: Path, row: dict[str, object], prompts: dict[str, str], reason: str
) -> None:
    good = {"prompt": "good", "word": "good"}
    chats = _chats(tmp_path, list=[good, row, good], **prompts)
    assert isinstance(chats[0], Conversation)
    assert isinstance(chats[2], Conversation)
    assert isinstance(chats[1], BadRow)
    assert chats[1].reason == reason


def test_a_missing_number_of_a_file_is_null_and_an_infinite_one_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [
        {"prompt": "a", "score": float("nan"), "meta": {"parts": [1.5, float("nan")]}},
        {"prompt": "b", "score": float("-inf"), "meta": {"parts": [0.5]}},
        {"prompt": "c", "score": 0.25, "meta": {"parts": []}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for source in (path, lines):
        chats = _chats(tmp_path / source.suffix[1:], file={"path": str(source)})
        kept = [chats[place] for place in (0, 2)]
        assert [chat.variables for chat in kept if isinstance(chat, Conversation)] == [
            {"prompt": "a", "score": None, "meta": {"parts": [1.5, None]}},
            rows[2],
        ]
        assert chats[1] == BadRow("bad-row", "'score' is infinite, which JSON has no form for")
    in_text = _chats(tmp_path / "in-text", file={"path": str(path)}, template="{prompt} has {score}")
    assert in_text[0] == BadRow("bad-row", "'score' is null")


@pytest.mark.parametrize(
    ("prompts", "line"),
    [
        (
            {"template": "{wrod}", "grid": {"word": ["a"]}},
            "prompts.template: no column 'wrod' in the rows; they have: word",
        ),
        ({"template": "{word}"}, "prompts.template: no column 'word' in the rows; they have: no columns"),
        ({"template": "a", "system": "{b}", "grid": {"c": [1]}}, "prompts.template: no column 'b' in the rows"),
        ({"grid": {"word": ["a"]}}, "prompts: no column 'messages' or 'prompt' in the rows; they have: word"),
        ({"list": ["a"], "columns": {"prompt": "text"}}, "prompts.columns: no column 'text' in the rows"),
        ({"templates": ["{template}"], "list": [{"template": 1}]}, "prompts.templates: the variable 'template' holds"),
        ({"template": "a", "grid": {}}, "prompts.grid: the grid is empty"),
        ({"list": []}, "prompts.list: the list is empty"),
        ({"corpus": "novels"}, "prompts.corpus: no corpus is called 'novels'"),
    ],
)
def test_what_no_row_can_satisfy_is_refused_before_anything_runs(
    tmp_path: Path, prompts: dict[str, object], line: str
) -> None:
    with pytest.raises(SpecError) as caught:
        _chats(tmp_path, **prompts)
    assert str(caught.value).startswith(line)


def test_a_missing_extra_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    try:
        import datasets  # noqa: F401
    except ImportError:
        with pytest.raises(SpecError, match=r"need the extra `hub`; pip install 'latentext\[hub\]'"):
            _chats(tmp_path, hub="stanfordnlp/imdb")
    else:
        pytest.skip("the extra `hub` is installed")


def test_a_hub_dataset_gives_its_rows(tmp_path: Path, materials: Path) -> None:
    pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    source = materials / "prompts" / "dailydialog-500.ndjson"
    (tmp_path / "dialogues").mkdir()
    (tmp_path / "dialogues" / "train.jsonl").write_bytes(source.read_bytes())
    chats = _chats(tmp_path, hub=str(tmp_path / "dialogues"), columns={"prompt": "source"})
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").split("\n") if line]
    assert _users(chats) == [row["source"] for row in rows]
    with pytest.raises(SpecError, match=r"Unknown split"):
        _chats(tmp_path, hub={"name": str(tmp_path / "dialogues"), "split": "absent"})
