"""The chat of a row without a template: its `prompt` as a user turn, or the chat in its `messages`.

Only the role and the text of a message reach a model. Whatever else a chat template would read, in a message or in the
row, is refused with its name: without it the model would see another chat than the file has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from latentext.prompts.rows import BadRow
from latentext.request import Message

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython", "observation", "tool_results")
"""Of messages. The last four are older names for what a tool answers (OpenAI, Llama 3, GLM, Mistral)."""

_INSTRUCTIONS = ("system", "developer")

_NOTES = frozenset(
    (
        *("id", "_id", "uuid", "message_id", "parent_id", "conversation_id", "turn_id", "turn_identifier", "turn"),
        *("index", "idx", "rank", "timestamp", "time", "date", "created", "created_at", "create_time", "updated_at"),
        *("update_time", "weight", "loss_weight", "train", "trainable", "metadata", "meta", "source", "dataset"),
        *("language", "lang", "country", "state", "hashed_ip", "header", "toxic", "redacted", "label", "labels"),
        *("tags", "score", "rating", "quality", "emojis", "detoxify", "openai_moderation", "length", "num_tokens"),
        *("token_count", "model", "model_name", "finish_reason", "stop_reason"),
    )
)
"""Fields of messages that say something about them: no chat template reads them."""

_READ_BY_TEMPLATES = (
    *("tools", "custom_tools", "builtin_tools", "available_tools", "xml_tools", "python_tools", "tool_choice"),
    *("functions", "function_call", "documents", "chat_template_kwargs", "chat_template", "controls"),
    *("tools_in_user_message", "enable_thinking", "thinking", "thinking_budget", "reasoning_effort", "date_string"),
    *(
        "model_identity",
        "developer_instructions",
        "system_message",
        "images",
        "image",
        "audio",
        "audios",
        "videos",
        "video",
    ),
)
"""Columns that libraries hand to a chat template next to the messages, or that templates read."""


def chat_of_row(
    row: Mapping[str, Any], *, chosen: Collection[str] = (), used: Collection[str] = (), as_first: bool = False
) -> list[Message] | BadRow:
    """The messages of a row.

    Args:
        row: of its `prompt` and `messages` one has a value.
        chosen: names that `prompts.columns` gives: one of the two among them decides where a row has both.
        used: columns that the spec's system text reads.
        as_first: by the rules of 0.1.0: `prompt` goes first, and further fields are dropped.

    Example:
        >>> chat_of_row({"prompt": "Hi", "id": 3})
        [{'role': 'user', 'content': 'Hi'}]
        >>> chat_of_row({"messages": [{"role": "User", "content": "Hi"}]}).message
        "the role 'User' is not known; roles are system, developer, user, assistant, tool"
    """
    if as_first:
        name = "prompt" if "prompt" in row else "messages"
    else:
        both = [name for name in ("prompt", "messages") if not _is_empty(row.get(name))]
        decided = [name for name in both if name in chosen] or both
        if len(decided) > 1:
            return BadRow(
                "bad-row",
                "the row has both 'prompt' and 'messages'; name the one to use in prompts.columns: "
                "{prompt: prompt} or {messages: messages}",
            )
        name = decided[0] if decided else "prompt" if "prompt" in row else "messages"
    if name not in row:
        return BadRow("bad-row", "the row has no 'prompt'")
    if name == "prompt":
        return _chat_of_prompt(row["prompt"])
    chat = _chat(row["messages"], as_first)
    if isinstance(chat, BadRow) or as_first:
        return chat
    return _lost_column(row, used, chat) or chat


def _chat_of_prompt(prompt: Any) -> list[Message] | BadRow:
    if prompt is None:
        return BadRow("empty-prompt", "the prompt is null")
    if isinstance(prompt, list | tuple) and prompt and all(isinstance(part, Mapping) for part in prompt):
        what = "the prompt is a list of messages; read it as a chat by prompts.columns: {messages: prompt}"
        return BadRow("not-a-string", what)
    if not isinstance(prompt, str):
        return BadRow("not-a-string", f"the prompt is {kind_of(prompt)}, not a text")
    return [{"role": "user", "content": prompt}] if prompt.strip() else BadRow("empty-prompt", "the prompt is empty")


def _chat(messages: Any, as_first: bool) -> list[Message] | BadRow:
    if not isinstance(messages, list | tuple) or not messages:
        return BadRow("bad-row", "'messages' is not a list of messages")
    for message in messages:
        if (bad := _unusable(message, as_first)) is not None:
            return bad
    chat: list[Message] = [{"role": message["role"], "content": message["content"]} for message in messages]
    if not as_first and all(message["role"] in _INSTRUCTIONS for message in chat):
        return BadRow("bad-row", f"the chat has only a {chat[0]['role']} message; add what the user says")
    return chat


def _unusable(message: Any, as_first: bool) -> BadRow | None:
    """Why a message cannot be passed on to a model as it is."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        if isinstance(message, Mapping) and {"from", "value"} <= message.keys():
            what = "a message has 'from' and 'value' (ShareGPT's form); rename them to 'role' and 'content'"
            return BadRow("bad-row", f"{what}, with the roles user and assistant")
        return BadRow("bad-row", "a message needs a role and a content")
    role = message["role"]
    if not as_first:
        if role not in ROLES:
            return BadRow("bad-row", f"the role {role!r} is not known; roles are {', '.join(ROLES[:5])}")
        field = next((name for name, value in message.items() if not (_is_passed_on(name) or _is_empty(value))), None)
        if field is not None:
            return BadRow("bad-row", f"the {role} message has {field!r}, which is not passed on to a model")
    if not isinstance(message.get("content"), str):
        return BadRow("not-a-string", f"the content of a {role} message is no text")
    return None


def _is_passed_on(name: str) -> bool:
    return name in ("role", "content") or name.lower() in _NOTES


def _lost_column(row: Mapping[str, Any], used: Collection[str], chat: list[Message]) -> BadRow | None:
    """A column that belongs to the chat but is not passed on to a model."""
    for name in _READ_BY_TEMPLATES:
        if name not in used and not _is_empty(row.get(name)):
            what = f"the row has {name!r}, which is not passed on to a model"
            return BadRow("bad-row", f"{what}; delete it, or give it another name by prompts.columns")
    if chat[0]["role"] not in _INSTRUCTIONS and "system" not in used and not _is_empty(row.get("system")):
        return BadRow("bad-row", "the row has 'system' next to 'messages'; use it by prompts.system: \"{system}\"")
    return None


def _is_empty(value: Any) -> bool:
    """Whether a field says nothing, also where a table keeps JSON as text."""
    return not value or (isinstance(value, str) and value.strip() in ("", "null", "[]", "{}"))


def kind_of(value: Any) -> str:
    """What a value of JSON is, in words.

    Example:
        >>> kind_of(5), kind_of(True), kind_of([1]), kind_of({}), kind_of(None)
        ('a number', 'true or false', 'a list', 'an object', 'null')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, Mapping) else f"of type {type(value).__name__}"
