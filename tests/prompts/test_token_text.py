"""The text of tokens behind a prompt: prompt text and answer text together are the whole, decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from latentext.engines.stopping import StopStrings
from latentext.prompts.token_text import continuation_text, loses_opening_space, token_text
from latentext.prompts.tokenizer import load_tokenizer
from latentext.spec import Decoding

KINDS = ["mistral-v1", "stories260k", "qwen2", "llama-3.2-instruct", "tiny"]
TEXTS = [
    "Once upon a time, there was a little dog named Spot. He liked  two   spaces.",
    "Línea única\n\n  – “citas”, 日本語 🙂🙂 e\u0301 and\ttabs",
    " a leading space, <|eot_id|> and </s> as letters",
]


@pytest.fixture(scope="module")
def tokenizers(materials: Path) -> dict[str, Any]:
    folders = {"stories260k": materials / "models" / "stories260k"}
    names = {kind: str(folders.get(kind, materials / "tokenizers" / kind)) for kind in KINDS[:-1]}
    return {kind: AutoTokenizer.from_pretrained(name) for kind, name in names.items()} | {
        "tiny": load_tokenizer("tiny")
    }


def decoded(tokenizer: Any, token_ids: list[int]) -> str:
    """As transformers decodes a whole text, special tokens left out."""
    return str(tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_prompt_and_answer_are_the_whole_wherever_a_text_is_cut(
    tokenizers: dict[str, Any], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    ids = tokenizer.encode(text)
    whole, within_characters = decoded(tokenizer, ids), 0
    for cut in range(len(ids) + 1):
        head, tail = decoded(tokenizer, ids[:cut]), continuation_text(tokenizer, ids[:cut], ids[cut:])
        if head.endswith("\ufffd"):
            assert whole.endswith(tail)
            within_characters += 1
        else:
            assert head + tail == whole
    assert within_characters < len(ids) / 2


@given(st.data())
@settings(max_examples=60)
def test_any_tokens_behind_any_prompt_are_what_follows_in_the_decoded_whole(
    tokenizers: dict[str, Any], data: st.DataObject
) -> None:
    tokenizer = tokenizers[data.draw(st.sampled_from(KINDS))]
    token = st.integers(0, len(tokenizer) - 1)
    prompt, answer = data.draw(st.lists(token, max_size=12)), data.draw(st.lists(token, max_size=12))
    head, whole = decoded(tokenizer, prompt), decoded(tokenizer, [*prompt, *answer])
    text = continuation_text(tokenizer, prompt, answer)
    assert whole.endswith(text)
    if not head.endswith("\ufffd"):
        assert text == whole[len(head) :]


@pytest.mark.parametrize("kind", KINDS)
def test_the_space_before_an_answer_is_kept(tokenizers: dict[str, Any], kind: str) -> None:
    tokenizer = tokenizers[kind]
    prompt = tokenizer.encode("there was a little dog")
    answer = tokenizer.encode("there was a little dog named Spot")[len(prompt) :]
    assert continuation_text(tokenizer, prompt, answer) == " named Spot"
    assert token_text(tokenizer, answer[0]).startswith(" n")


def test_which_tokenizers_lose_the_space_is_known(tokenizers: dict[str, Any]) -> None:
    assert {kind for kind in KINDS if loses_opening_space(tokenizers[kind])} == {"mistral-v1", "stories260k"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_string_that_begins_with_the_space_before_the_answer_is_found(
    tokenizers: dict[str, Any], kind: str
) -> None:
    tokenizer = tokenizers[kind]
    prompt = tokenizer.encode("there was a little dog named")
    answer = tokenizer.encode("there was a little dog named Spot, who")[len(prompt) :]
    stops = StopStrings(tokenizer, Decoding(stop=(" Spot",)))
    assert stops.text(prompt, answer) == ""
    assert any(stops.reached(prompt, answer[:n]) for n in range(1, len(answer) + 1))
    # The prompt's own words are no answer.
    of_the_prompt = StopStrings(tokenizer, Decoding(stop=(" named",)))
    assert not any(of_the_prompt.reached(prompt, answer[:n]) for n in range(1, len(answer) + 1))


@pytest.mark.parametrize("kind", ["mistral-v1", "stories260k"])
def test_a_stop_string_among_characters_of_several_tokens_is_found_at_every_length(
    tokenizers: dict[str, Any], kind: str
) -> None:
    """These vocabularies spell rare characters in bytes; a run of bytes that begins within one is spoilt as a whole."""
    tokenizer = tokenizers[kind]
    prompt = tokenizer.encode("So: 🙂🙂")
    answer = tokenizer.encode("So: 🙂🙂🙂🙂🙂é🙂🙂")[len(prompt) :]
    stops = StopStrings(tokenizer, Decoding(stop=("é",)))
    first = next(n for n in range(1, len(answer) + 1) if stops.reached(prompt, answer[:n]))
    assert stops.text(prompt, answer[:first]) == stops.text(prompt, answer) == "🙂🙂🙂"
