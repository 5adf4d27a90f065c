"""The shipped tokenizer and its template against the hand-made rendering that training used."""

from pathlib import Path
from random import Random

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tiny.corpus import sample_at
from tiny.dialogue import Exchange
from tiny.rendering import encode_batch, render, render_prompt
from tiny.tokenizer import LATE_STEP, SPECIAL_TOKENS, list_words

FOLDER = Path(__file__).resolve().parents[2] / "src" / "latentext" / "models" / "tiny"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(FOLDER)


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


def test_bos_is_added_as_llama_3_adds_it(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer("cat").input_ids == [tokenizer.bos_token_id, *ids(tokenizer, "cat")]
    assert tokenizer.eos_token == "<|eot_id|>"
    assert tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS) == list(range(6))


def test_numbers_and_list_words_are_one_token_with_and_without_a_space(tokenizer: PreTrainedTokenizerFast) -> None:
    units = [*map(str, range(101)), *sorted(list_words())]
    assert [form for unit in units for form in (unit, f" {unit}") if len(ids(tokenizer, form)) != 1] == []


@pytest.mark.parametrize("text", ["Grüße, 世界! 🙂", "  two  spaces\n\n\nlines\t", "x" * 50, "3.14159 1000 ½"])
def test_any_text_survives_encoding(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_the_template_prints_what_training_rendered(tokenizer: PreTrainedTokenizerFast, system: str) -> None:
    messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": " Hi there "}]
    rendered = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, date_string="01 May 2030"
    )
    assert rendered == render_prompt(Exchange("", "Hi there", "", system), "01 May 2030")
    lines = rendered.splitlines(keepends=True)
    without_dates = "".join(line for line in lines if not line.startswith(("Cutting Knowledge Date:", "Today Date:")))
    assert without_dates == render_prompt(Exchange("", "Hi there", "", system), None)


def test_prompt_and_answer_encode_apart_as_they_do_together(tokenizer: PreTrainedTokenizerFast) -> None:
    samples = [sample_at(-1, LATE_STEP, place) for place in range(300)]
    apart = encode_batch(samples, tokenizer, Random(0), longest=10_000)
    rng = Random(0)
    for sample, encoded in zip(samples, apart, strict=True):
        assert encoded.ids == ids(tokenizer, "".join(render(sample, rng)))
        assert len(encoded.ids) == len(encoded.weights)
        assert encoded.weights[-1] == max(encoded.weights)
        assert encoded.ids[-1] in (1, 4)
