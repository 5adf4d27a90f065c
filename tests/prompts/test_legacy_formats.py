"""Hand-written chat formats, byte for byte, with one BOS as ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentext.errors import PromptError, SpecError
from latentext.prompts.chat import ChatFormat
from latentext.prompts.legacy_formats import LEGACY_FORMATS
from latentext.prompts.tokenizer import load_tokenizer
from latentext.spec import PromptSpec

USER = [{"role": "user", "content": "paraphrase this: a {b} c"}]
WITH_SYSTEM = [{"role": "system", "content": "Be brief."}, *USER]

# Source: prompts as they stand in the published files of the comparison (its prompt column).
PUBLISHED = {
    "stable-beluga": "### System:\nYou are StableBeluga, an AI that follows instructions extremely well. "
    "Help as much as you can. Remember, be safe, and don't do anything illegal.\n\n"
    "### User: paraphrase this: a {b} c\n\n### Assistant:\n",
    "llama-2": "<s>[INST] <<SYS>>\n\n<</SYS>>\n\nparaphrase this: a {b} c [/INST]",
    "mistral": "<s>[INST] paraphrase this: a {b} c [/INST]",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_format_is_byte_for_byte_the_published_one(name: str) -> None:
    assert LEGACY_FORMATS[name].render(USER) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("tokenizer", ["models/stories260k", "tokenizers/mistral-v1"])
def test_as_ids_every_format_has_one_bos_and_as_text_it_keeps_its_own(
    materials: Path, name: str, tokenizer: str
) -> None:
    loaded = load_tokenizer(str(materials / tokenizer)) if "models" in tokenizer else _bare(materials / tokenizer)
    form = ChatFormat.from_spec(PromptSpec(list=("a",), chat_format=name))
    text = form.render(loaded, USER)
    assert text == PUBLISHED[name]
    ids = form.encode(loaded, text)
    assert ids[0] == loaded.bos_token_id
    assert ids.count(loaded.bos_token_id) == 1


def test_system_text_takes_its_place_in_each_format() -> None:
    rendered = {name: form.render(WITH_SYSTEM) for name, form in LEGACY_FORMATS.items()}
    assert rendered["stable-beluga"].startswith("### System:\nBe brief.\n\n### User: paraphrase")
    assert "<<SYS>>\nBe brief.\n<</SYS>>" in rendered["llama-2"]
    assert rendered["mistral"] == "<s>[INST] Be brief.\n\nparaphrase this: a {b} c [/INST]"


def test_a_chat_of_several_turns_is_refused() -> None:
    with pytest.raises(PromptError, match="one user turn"):
        LEGACY_FORMATS["llama-2"].render([*USER, {"role": "assistant", "content": "b"}, *USER])


def test_the_models_own_format_is_taken_unless_the_spec_names_another() -> None:
    auto, template = PromptSpec(list=("a",)), PromptSpec(list=("a",), chat_format="template")
    assert ChatFormat.from_spec(auto, "beluga7b").legacy == LEGACY_FORMATS["stable-beluga"]
    assert ChatFormat.from_spec(auto, "tiny").legacy is None
    assert ChatFormat.from_spec(template, "beluga7b").legacy is None


def test_a_base_models_prompts_are_plain_text_where_that_is_allowed(stories260k: Path) -> None:
    tokenizer = load_tokenizer(str(stories260k))
    assert tokenizer.chat_template is None
    if_any = ChatFormat.from_spec(PromptSpec(list=("a",), chat_format="if-any"))
    assert if_any.render(tokenizer, USER) == "paraphrase this: a {b} c"
    assert ChatFormat.from_spec(PromptSpec(list=("a",), chat_format="if-any"), "mistral7b").legacy is not None
    with pytest.raises(SpecError, match="no chat template"):
        ChatFormat.from_spec(PromptSpec(list=("a",))).render(tokenizer, USER)


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(SpecError, match="known are auto, if-any, template, stable-beluga, llama-2, mistral"):
        ChatFormat.from_spec(PromptSpec(list=("a",), chat_format="alpaca"))


def _bare(folder: Path) -> object:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
