"""What of a row is passed on to a model: the roles and texts of its chat, and nothing is left out without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, meta, nodes

from latentext.prompts.conversations import Conversation, Conversations, open_conversations
from latentext.prompts.row_chats import ROLES, chat_of_row
from latentext.prompts.rows import BadRow
from latentext.spec import PromptSpec

USER = {"role": "user", "content": "Hi"}


def chats(directory: Path, row: dict[str, Any], begun_by: str | None = None, **prompts: Any) -> Conversations:
    (directory / "rows.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"prompt": "good", "messages": None}))
    spec = PromptSpec(file=str(directory / "rows.jsonl"), **prompts)
    return open_conversations(spec, 0, directory / "kept", begun_by)


def refusal(row: dict[str, Any]) -> str:
    bad = chat_of_row(row)
    assert isinstance(bad, BadRow)
    return bad.message


def test_a_row_with_a_prompt_and_a_chat_says_how_to_choose(tmp_path: Path) -> None:
    row = {"prompt": "both", "messages": [USER]}
    bad = chats(tmp_path, row)[0]
    assert isinstance(bad, BadRow)
    assert bad.message == (
        "the row has both 'prompt' and 'messages'; name the one to use in prompts.columns: {prompt: prompt} or "
        "{messages: messages}"
    )


@pytest.mark.parametrize(
    ("prompts", "text"),
    [
        ({"columns": {"prompt": "prompt"}}, "both"),
        ({"columns": {"messages": "messages"}}, "Hi"),
        ({"columns": {"chat": "messages"}}, "both"),
        ({"columns": {"question": "prompt"}}, "Hi"),
        ({"template": "Say {prompt}."}, "Say both."),
    ],
)
def test_columns_or_a_template_choose_between_a_prompt_and_a_chat(
    prompts: dict[str, Any], text: str, tmp_path: Path
) -> None:
    chat = chats(tmp_path, {"prompt": "both", "messages": [USER]}, **prompts)[0]
    assert isinstance(chat, Conversation)
    assert chat.messages == [{"role": "user", "content": text}]


@pytest.mark.parametrize("nothing", [None, "", []])
def test_of_a_prompt_and_a_chat_the_one_that_says_something_is_used(nothing: object) -> None:
    assert chat_of_row({"prompt": nothing, "messages": [USER]}) == [USER]
    assert chat_of_row({"prompt": "Hi", "messages": nothing}) == [USER]


@pytest.mark.parametrize("name", ["images", "audio", "tool_plan", "prefix", "functions", "thought", "anything_else"])
def test_any_field_of_a_message_is_refused_by_name_unless_it_is_a_known_note(name: str) -> None:
    expected = f"the user message has {name!r}, which is not passed on to a model"
    assert refusal({"messages": [{**USER, name: "x"}]}) == expected
    assert chat_of_row({"messages": [{**USER, name: None}]}) == [USER]


@pytest.mark.parametrize(
    "note",  # As SlimOrca, WildChat, OpenAssistant, ChatGPT's export and OpenAI's fine-tuning files have them.
    [
        {"weight": 0.5},
        {"turn_identifier": 102, "hashed_ip": "f8", "country": "X", "toxic": True, "header": {"user-agent": "b"}},
        {"message_id": "6a", "parent_id": "7b", "lang": "en", "rank": 2},
        {"id": "1", "create_time": 1.7e9, "update_time": 1.8e9, "metadata": {"a": 1}},
    ],
)
def test_notes_on_messages_do_no_harm(note: dict[str, Any]) -> None:
    assert chat_of_row({"messages": [{**USER, **note}]}) == [USER]


@pytest.mark.parametrize("name", ["tools", "documents", "functions", "chat_template_kwargs", "images"])
def test_columns_that_a_chat_template_would_read_are_refused_with_a_value(name: str) -> None:
    expected = f"the row has {name!r}, which is not passed on to a model; delete it, or give it another name by "
    assert refusal({"messages": [USER], name: [{"a": 1}]}).startswith(expected)
    for nothing in (None, [], {}, "", "[]"):
        assert chat_of_row({"messages": [USER], name: nothing}) == [USER]
    assert chat_of_row({"prompt": "Hi", name: [{"a": 1}]}) == [USER]


def test_other_columns_of_a_chat_become_variables_as_they_are(tmp_path: Path) -> None:
    row = {"messages": [USER], "label": 3, "topic": ["a"]}
    assert chats(tmp_path, row)[0] == Conversation(row, [USER])


def test_a_system_text_next_to_a_chat_is_used_or_refused(tmp_path: Path) -> None:
    row = {"messages": [USER], "system": "Be brief."}
    assert refusal(row) == "the row has 'system' next to 'messages'; use it by prompts.system: \"{system}\""
    chat = chats(tmp_path, row, system="{system}")[0]
    assert isinstance(chat, Conversation)
    assert chat.messages == [{"role": "system", "content": "Be brief."}, USER]
    own = [{"role": "system", "content": "Be brief."}, USER]
    assert chat_of_row({**row, "messages": own}) == own


@pytest.mark.parametrize("role", ["User", "human", "gpt", "bot", "", "SYSTEM"])
def test_roles_that_no_template_has_are_refused_with_the_known_ones(role: str) -> None:
    expected = f"the role {role!r} is not known; roles are system, developer, user, assistant, tool"
    assert refusal({"messages": [USER, {"role": role, "content": "Hi"}]}) == expected


def test_the_form_of_sharegpt_is_recognized() -> None:
    assert refusal({"messages": [{"from": "human", "value": "Hi"}]}) == (
        "a message has 'from' and 'value' (ShareGPT's form); rename them to 'role' and 'content', with the roles user "
        "and assistant"
    )


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_chat_without_a_word_of_the_user_is_refused(role: str) -> None:
    only = refusal({"messages": [{"role": role, "content": "Be brief."}]})
    assert only == f"the chat has only a {role} message; add what the user says"


@pytest.mark.parametrize(
    ("prompt", "kind"), [(5, "a number"), (True, "true or false"), ({"a": 1}, "an object"), (["a"], "a list")]
)
def test_a_prompt_that_is_no_text_is_named_in_plain_words(prompt: object, kind: str) -> None:
    assert refusal({"prompt": prompt}) == f"the prompt is {kind}, not a text"


def test_a_prompt_that_is_a_chat_says_how_to_read_it(tmp_path: Path) -> None:
    row = {"prompt": [USER]}
    assert refusal(row).endswith("read it as a chat by prompts.columns: {messages: prompt}")
    assert chats(tmp_path, row, columns={"messages": "prompt"})[0] == Conversation({"messages": [USER]}, [USER])


def test_datasets_begun_by_the_first_version_keep_their_chats(tmp_path: Path) -> None:
    rows: list[tuple[dict[str, Any], list[dict[str, str]]]] = [
        ({"prompt": "Hi", "messages": [{"role": "user", "content": "other"}]}, [USER]),
        ({"messages": [{**USER, "images": ["a"]}], "tools": [1]}, [USER]),
        ({"messages": [{"role": "human", "content": "Hi"}]}, [{"role": "human", "content": "Hi"}]),
        ({"messages": [{"role": "system", "content": "s"}]}, [{"role": "system", "content": "s"}]),
    ]
    for number, (row, messages) in enumerate(rows):
        folder = tmp_path / str(number)
        folder.mkdir()
        chat = chats(folder, row, begun_by="0.1.0")[0]
        assert isinstance(chat, Conversation)
        assert chat.messages == messages
        assert isinstance(chats(folder, row)[0], BadRow)


_OF_THE_LIBRARY = {"messages", "add_generation_prompt", "bos_token", "eos_token", "raise_exception", "strftime_now"}


def test_what_published_templates_read_is_passed_on_or_refused(materials: Path) -> None:
    paths = sorted((materials / "chat-templates").glob("*.jinja"))
    assert paths
    for path in paths:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(path.read_text())
        assigned = {name.name for name in tree.find_all(nodes.Name) if name.ctx in ("store", "param")}
        for name in meta.find_undeclared_variables(tree) - assigned - _OF_THE_LIBRARY:
            assert isinstance(chat_of_row({"messages": [USER], name: "x"}), BadRow), (path.name, name)
        compared = [each for each in tree.find_all(nodes.Compare) if "name='role'" in repr(each.expr)]
        compared += [each for each in tree.find_all(nodes.Compare) if "Const('role')" in repr(each.expr)]
        compared += [each for each in tree.find_all(nodes.Compare) if "attr='role'" in repr(each.expr)]
        roles = {text.value for each in compared for op in each.ops for text in op.find_all(nodes.Const)}
        assert {role for role in roles if isinstance(role, str)} <= set(ROLES), path.name
