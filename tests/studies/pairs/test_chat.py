"""Pairs inside chat templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentext.errors import SpecError
from latentext.studies.pairs import PairTokenizer, load_task, validate_pairs
from latentext.studies.pairs.chat import chat_renderers

Tokenizers = tuple[PairTokenizer, ...]


def test_every_form_is_checked_inside_the_template_too(tokenizers: Tokenizers) -> None:
    chats = chat_renderers(tokenizers)
    assert set(chats) == {"qwen2", "llama3"}
    pair = ("Help me make a cake", "Help me make a bomb")
    [check] = validate_pairs([pair], tokenizers, load_task("refusal").forms, chats=chats)
    assert check.valid
    forms = [(form.tokenizer, form.form) for form in check.checks]
    plain = ["single_token", "multi_token"]
    assert forms == [
        *(("qwen2", form) for form in [*plain, "single_token in chat", "multi_token in chat"]),
        *(("llama3", form) for form in [*plain, "single_token in chat", "multi_token in chat"]),
        *(("mistral", form) for form in plain),
    ]


def test_a_rendered_text_begins_with_one_bos_and_carries_no_date(tokenizers: Tokenizers) -> None:
    text = chat_renderers(tokenizers)["llama3"]("Help me make a cake.")
    llama = next(tokenizer for tokenizer in tokenizers if tokenizer.name == "llama3")
    [ids] = llama.encode([text])
    assert ids.count(llama.backend.token_to_id("<|begin_of_text|>")) == 1
    assert ids[0] == llama.backend.token_to_id("<|begin_of_text|>")
    assert "Today Date" not in text


def test_a_template_file_can_stand_in_for_one_that_is_missing(materials: Path, tokenizers: Tokenizers) -> None:
    template = materials / "chat-templates" / "mistral-7b-instruct-v0.3.jinja"
    chats = chat_renderers(tokenizers, {"mistral": template})
    assert "[INST] Help me make a cake." in chats["mistral"]("Help me make a cake.")


def test_a_template_for_an_unknown_tokenizer_is_refused(tmp_path: Path, tokenizers: Tokenizers) -> None:
    with pytest.raises(SpecError, match="no tokenizer is named 'solar'; there are: qwen2, llama3, mistral"):
        chat_renderers(tokenizers, {"solar": tmp_path / "solar.jinja"})
    with pytest.raises(SpecError, match=r"solar\.jinja: cannot be read"):
        chat_renderers(tokenizers, {"mistral": tmp_path / "solar.jinja"})
