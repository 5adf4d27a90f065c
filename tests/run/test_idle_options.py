"""Options that could never do anything, and chats that a model would not get whole: refused before anything is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from latentext.errors import SpecError
from latentext.run.estimate import estimate
from latentext.run.runner import make_dataset
from latentext.spec import Spec

USER = {"role": "user", "content": "What is the weather?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def spec(**parts: Any) -> Spec:
    decoding = {"max_new_tokens": 3}
    prompts = {"template": "Say {word}.", "grid": {"word": ["yes", "no"]}}
    return Spec.model_validate({"prompts": prompts, "decoding": decoding, **parts})


def refused(of: Spec, folder: Path) -> str:
    """What a run and a dry run say; nothing is left behind."""
    with pytest.raises(SpecError) as by_run:
        make_dataset(of, folder / "data")
    with pytest.raises(SpecError) as by_dry_run:
        estimate(of)
    assert str(by_run.value) == str(by_dry_run.value)
    assert not (folder / "data").exists()
    return str(by_run.value)


@pytest.mark.parametrize("stop", ["<|eot_id|>", "\n<|eot_id|>", ["!", "<|end_of_text|>"]])
def test_a_stop_string_with_a_special_token_is_refused(stop: str | list[str], tmp_path: Path) -> None:
    line = refused(spec(decoding={"max_new_tokens": 3, "stop": stop}), tmp_path)
    assert "decoding.stop" in line and "never stops a text" in line and "\n" not in line


SERVER = {"name": "some-model", "engine": "openai", "api": {"base_url": "http://127.0.0.1:9/v1"}}


@pytest.mark.parametrize(
    ("stop", "local"),
    [
        ("<|eot_id|>", None),
        ("<|eot_id|>", "tiny"),
        ("</s>", None),
        (["!", "<end_of_turn>"], None),
        ("\n<|im_end|>", None),
    ],
)
def test_a_stop_string_that_a_server_sends_no_text_with_is_refused_with_the_way_out(
    stop: str | list[str], local: str | None, tmp_path: Path
) -> None:
    line = refused(spec(decoding={"max_new_tokens": 3, "stop": stop}, model={**SERVER, "local": local}), tmp_path)
    assert "decoding.stop" in line and "is a special token" in line and "model.api.request: {stop: [" in line
    assert "\n" not in line


def test_an_ordinary_stop_string_of_a_server_is_not_refused() -> None:
    stops = ["<|", "|>", "END", "[INST]", "<b>", "</p>", "\n\n"]
    estimate(spec(decoding={"max_new_tokens": 3, "stop": stops}, model=SERVER))


def test_an_ordinary_stop_string_is_not(tmp_path: Path) -> None:
    estimate(spec(decoding={"max_new_tokens": 3, "stop": ["<|eot", "|", "\n\n"]}))


def test_a_split_by_what_no_row_has_is_refused_as_export_refuses_it(tmp_path: Path) -> None:
    line = refused(spec(split={"by": "topic"}), tmp_path)
    assert "cannot split by 'topic'" in line and "word" in line


@pytest.mark.parametrize("by", ["prompt", "index", "rows-sequential", "word"])
def test_a_split_by_what_there_is_is_taken(by: str) -> None:
    estimate(spec(split={"by": by}))


def test_a_split_may_be_by_template_and_temperature_where_there_are_several() -> None:
    templates = {"templates": ["Say {word}.", "Write {word}."], "grid": {"word": ["yes", "no"]}}
    for by in ("template", "temperature"):
        decoding = {"max_new_tokens": 3, "temperature": [0.5, 1.0]}
        estimate(spec(prompts=templates, decoding=decoding, split={"by": by}))


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "assistant", "content": "", "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "tool", "content": "rain", "tool_call_id": "c1"}, "tool_call_id"),
        ({"role": "assistant", "content": "Rain.", "reasoning_content": "Look."}, "reasoning_content"),
        ({"role": "user", "content": "Hi", "name": "Ann"}, "name"),
    ],
)
def test_fields_of_messages_that_no_model_would_see_are_refused_by_name(
    message: dict[str, Any], field: str, tmp_path: Path
) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": [USER, message, USER]}))
    line = refused(spec(prompts={"file": str(path)}), tmp_path)
    assert f"has {field!r}, which is not passed on" in line


def test_fields_that_say_nothing_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": [{**USER, "tool_calls": None, "name": "", "id": 7}]}))
    assert estimate(spec(prompts={"file": str(path)})).requests == 1


@pytest.mark.parametrize("add", [True, False])
def test_a_chat_that_ends_in_an_assistant_message_is_refused(add: bool, tmp_path: Path) -> None:
    chat = [USER, {"role": "assistant", "content": "It is"}]
    prompts = {"list": [{"messages": chat}], "add_generation_prompt": add}
    line = refused(spec(prompts=prompts), tmp_path)
    assert "ends in an assistant message" in line


def test_a_chat_that_is_only_read_may_end_in_one(tmp_path: Path) -> None:
    chat = [USER, {"role": "assistant", "content": "It is"}]
    prompts = {"list": [{"messages": chat}], "add_generation_prompt": False}
    estimate(spec(prompts=prompts, decoding={"max_new_tokens": 0}))
    estimate(spec(prompts={**prompts, "use_chat_template": False}))
