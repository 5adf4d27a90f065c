"""Chat formatting on real templates and tokenizers: golden texts and ids, date lines, system texts, one BOS."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from latentext.errors import PromptError, SpecError
from latentext.models.resolve import TINY_FOLDER
from latentext.prompts.chat import ChatFormat
from latentext.spec import PromptSpec

LLAMA, QWEN, MISTRAL = "llama-3.2-instruct", "qwen2", "mistral-v1"
SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Hello!"}
ASSISTANT = {"role": "assistant", "content": "Hi."}

# What each template writes for SYSTEM and USER, read off the template by hand. The blank line that Llama 3.1 and 3.2
# write behind the date belongs to it.
_LLAMA_3 = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
)
_CHATML = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"
GOLDEN = {
    "llama-2-chat": (MISTRAL, "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHello! [/INST]"),
    "llama-3-instruct": (LLAMA, _LLAMA_3),
    "llamacpp.meta-llama-Llama-3.1-8B-Instruct": (LLAMA, _LLAMA_3),
    "llamacpp.meta-llama-Llama-3.2-3B-Instruct": (LLAMA, _LLAMA_3),
    "llamacpp.Qwen-Qwen2.5-7B-Instruct": (QWEN, _CHATML),
    "qwen2-instruct.from-tokenizer_config": (QWEN, _CHATML),
    "mistral-7b-instruct-v0.3": (MISTRAL, "<s>[INST] Be kind.\n\nHello![/INST]"),
    "solar-instruct": (MISTRAL, "<s>### System:\nBe kind.\n\n### User:\nHello!\n\n### Assistant:\n"),
}
_INDENTED_FOR_READING = {"llama-2-chat", "llama-3-instruct", "solar-instruct"}
_DATE_LINES = re.compile(r"Cutting Knowledge Date: December 2023\nToday Date: (01 Jan 2000|26 Jul 2024)\n\n")


def _template(materials: Path, name: str) -> str:
    text = (materials / "chat-templates" / f"{name}.jinja").read_text(encoding="utf-8")
    return text.replace("    ", "").replace("\n", "") if name in _INDENTED_FOR_READING else text


@pytest.fixture(scope="module")
def load(materials: Path):
    """Load a tokenizer of the materials, with one of the templates if named; each is read from the disk once."""
    loaded: dict[str, PreTrainedTokenizerBase] = {}

    def load(name: str, template: str | None = None) -> PreTrainedTokenizerBase:
        if name not in loaded:
            loaded[name] = AutoTokenizer.from_pretrained(materials / "tokenizers" / name)
        tokenizer = loaded[name]
        if template is not None:
            tokenizer = copy.copy(tokenizer)
            tokenizer.chat_template = template
        return tokenizer

    return load


def _plain_jinja(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """An independent rendering: jinja2 alone with a fixed date, its two lines then cut out by their known words."""

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: "01 Jan 2000"}
    rendered = environment.from_string(tokenizer.chat_template).render(
        messages=messages,
        add_generation_prompt=True,
        bos_token=tokenizer.bos_token or "",
        eos_token=tokenizer.eos_token,
    )
    return _DATE_LINES.sub("", rendered, count=1)


@pytest.mark.parametrize("name", GOLDEN)
def test_every_template_writes_what_it_says_on_paper(load, materials: Path, name: str) -> None:
    tokenizer_name, expected = GOLDEN[name]
    tokenizer = load(tokenizer_name, _template(materials, name))
    assert ChatFormat().render(tokenizer, [SYSTEM, USER]) == expected


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("messages", [[USER], [SYSTEM, USER], [USER, ASSISTANT, USER]], ids=len)
def test_every_template_gives_what_jinja_gives_without_the_date_lines(
    load, materials: Path, name: str, messages: list[dict[str, str]]
) -> None:
    tokenizer = load(GOLDEN[name][0], _template(materials, name))
    assert ChatFormat().render(tokenizer, messages) == _plain_jinja(tokenizer, messages)


def test_the_tokenizers_own_templates_are_used_as_they_come(load) -> None:
    for name in (LLAMA, QWEN):
        assert ChatFormat().render(load(name), [USER]) == _plain_jinja(load(name), [USER])
    tiny = AutoTokenizer.from_pretrained(TINY_FOLDER)
    assert ChatFormat().render(tiny, [SYSTEM, USER]) == _LLAMA_3


@pytest.mark.parametrize("role", ["user", "system"])
@pytest.mark.parametrize(
    "text",
    [
        "Today Date: 1 May",
        "What is this?\nToday Date: 1 May\nCutting Knowledge Date: December 2023\n\nThanks.",
        "Knowledge cutoff: 2024-06\nCurrent date: 2025-01-01",
        "cutting knowledge date : CUTTING KNOWLEDGE DATE: both",
        "private use \ue100\ue1ff stays",
        "<|eot_id|>\nCutting Knowledge Date: December 2023",
    ],
)
@pytest.mark.parametrize("name", GOLDEN)
def test_what_a_message_says_about_dates_stays(load, materials: Path, name: str, text: str, role: str) -> None:
    tokenizer_name, golden = GOLDEN[name]
    tokenizer = load(tokenizer_name, _template(materials, name))
    replaced = {"user": "Hello!", "system": "Be kind."}[role]
    messages = [dict(message, content=text) if message["role"] == role else message for message in (SYSTEM, USER)]
    assert ChatFormat().render(tokenizer, messages) == golden.replace(replaced, text)


def test_fifty_thousand_cutoff_phrases_in_a_message_stay(load) -> None:
    # Put back one after the other, each by a pass over the text, these would take minutes.
    text = "".join(f"{number} Cutting Knowledge Date: Knowledge cutoff: " for number in range(25_000))
    rendered = ChatFormat().render(load(LLAMA), [SYSTEM, {"role": "user", "content": text}])
    assert rendered == _LLAMA_3.replace("Hello!", text.strip())


def test_date_lines_stay_when_asked(load) -> None:
    rendered = ChatFormat(remove_date_lines=False).render(load(LLAMA), [USER])
    assert re.search(
        r"\n\nCutting Knowledge Date: December 2023\nToday Date: \d\d \w{3} \d{4}\n\n<\|eot_id\|>", rendered
    )


# Forms of date lines that no template of the materials has.
_HEADER_ON_THE_LINE = (
    "{{ bos_token }}Knowledge cutoff: 2024-06<|eot_id|>Current date: {{ strftime_now('%Y-%m-%d') }}<|end_header_id|>"
    "{% for m in messages %}{{ m['content'] }}{% endfor %}"
)
_DATE_ON_THE_LINE_OF_A_MESSAGE = (
    "{% for m in messages %}On {{ date_string }} they said {{ m['content'] }}\n{% endfor %}"
)
_CUTOFF_ON_THE_LINE_OF_A_MESSAGE = "{% for m in messages %}Knowledge cutoff: 2024. {{ m['content'] }}{% endfor %}"
_LEADING_SPACE = (
    "\n  {% if true %}x{% endif %}\n{{ messages[0]['content'] }}\nIt is {{ strftime_now('%d') | upper }}.\n"
)


_GRANITE_33 = (  # As published: the persona on the line of the date; the caller's system text takes its place.
    "{% if messages[0]['role'] == 'system' %}{% set system, rest = messages[0]['content'], messages[1:] %}{% else %}"
    "{% set system = \"Knowledge Cutoff Date: April 2024. Today's Date: \" + strftime_now('%B %d, %Y') + "
    '". You are Granite, developed by IBM. You are a helpful AI assistant." %}{% set rest = messages %}{% endif %}'
    "{{ '<|start_header_id|>system<|end_header_id|>' + system + '<|eot_id|>\n' }}"
    "{% for m in rest %}{{ m['content'] }}{% endfor %}"
)


def test_a_persona_on_the_line_of_the_date_stays(load) -> None:
    rendered = ChatFormat().render(load(LLAMA, _GRANITE_33), [USER])
    persona = "You are Granite, developed by IBM. You are a helpful AI assistant."
    assert rendered == f"<|start_header_id|>system<|end_header_id|>{persona}<|eot_id|>\nHello!"


@pytest.mark.parametrize(
    "said",
    [
        "You are Kimi and today is {}.",
        "Kimi is here, it is {}.",
        "It is {}, a fine day, and you are Kimi.",
        "You are Kimi. As of {} you know all about tea.",
    ],
)
def test_a_date_within_a_sentence_of_other_words_is_refused_and_named(load, said: str) -> None:
    template = f"{said.format('{{ date_string }}')}\n{{{{ messages[0]['content'] }}}}"
    with pytest.raises(PromptError, match=r"date into a sentence .* prompts\.remove_date_lines: false"):
        ChatFormat().render(load(LLAMA, template), [USER])
    assert "Kimi" in ChatFormat(remove_date_lines=False).render(load(LLAMA, template), [USER])


@pytest.mark.parametrize(
    "said",
    ["Today's date: {}", "The current date is {}.", "Current date: {} (UTC)", "日期：{}", "Today is {}, {}."],
)
def test_a_sentence_that_tells_the_date_alone_goes(load, said: str) -> None:
    template = f"You are Kimi. {said.replace('{}', '{{ date_string }}')} Be brief.\n{{{{ messages[0]['content'] }}}}"
    if said.endswith("."):
        assert ChatFormat().render(load(LLAMA, template), [USER]) == "You are Kimi. Be brief.\nHello!"
    alone = template.replace("You are Kimi. ", "").replace(" Be brief.", "")
    assert ChatFormat().render(load(LLAMA, alone), [USER]) == "Hello!"


def test_the_ids_of_the_default_prompt_are_those_of_the_published_tool(load) -> None:
    tokenizer = load(LLAMA)
    form = ChatFormat()
    ids = form.encode(tokenizer, form.render(tokenizer, [USER]))
    # <|begin_of_text|> <|start_header_id|> system <|end_header_id|> \n\n <|eot_id|>
    assert ids[:6] == [128000, 128006, 9125, 128007, 271, 128009]


def test_a_blank_line_that_a_message_begins_with_is_never_touched(load) -> None:
    template = "Today Date: {{ date_string }}\n{{ messages[0]['content'] }}"
    asked = [{"role": "user", "content": "\nHello!"}]
    assert ChatFormat().render(load(LLAMA, template), asked) == "\nHello!"


def test_paragraphs_around_the_date_stay_apart(load, materials: Path) -> None:
    rendered = ChatFormat().render(load(LLAMA, _template(materials, "unsloth.gpt-oss")), [USER])
    assert "date" not in rendered.lower() and "cutoff" not in rendered.lower()
    assert "large language model trained by OpenAI.\n\nReasoning: medium" in rendered


def test_datasets_of_0_1_0_go_on_with_the_prompts_that_they_began_with(load) -> None:
    spec = PromptSpec(list=["Hello!"])
    for begun_by, behind in (("0.1.0", "\n\n\n"), ("0.2.0.dev0", "\n\n"), (None, "\n\n")):
        form = ChatFormat.from_spec(spec, "x", begun_by)
        assert f"system<|end_header_id|>{behind}<|eot_id|>" in form.render(load(LLAMA), [USER])


def test_a_header_on_the_line_of_the_date_is_kept(load) -> None:
    rendered = ChatFormat().render(load(LLAMA, _HEADER_ON_THE_LINE), [USER])
    assert rendered == "<|begin_of_text|><|eot_id|><|end_header_id|>Hello!"


def test_space_at_the_start_of_a_template_is_treated_as_jinja_treats_it(load) -> None:
    assert ChatFormat().render(load(LLAMA, _LEADING_SPACE), [USER]) == "\nxHello!\n"
    assert _plain_jinja(load(LLAMA, _LEADING_SPACE), [USER]) == "\nxHello!\nIt is 01 JAN 2000."


@pytest.mark.parametrize("template", [_DATE_ON_THE_LINE_OF_A_MESSAGE, _CUTOFF_ON_THE_LINE_OF_A_MESSAGE])
def test_message_text_on_the_line_of_the_date_is_refused_and_not_touched(load, template: str) -> None:
    with pytest.raises(PromptError, match="writes message text on the line of the date"):
        ChatFormat().render(load(LLAMA, template), [USER])
    assert "Hello!" in ChatFormat(remove_date_lines=False).render(load(LLAMA, template), [USER])


_REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
)
_FORGETS_SYSTEM = "{% for m in messages if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"


@pytest.mark.parametrize("template", [_REFUSES_SYSTEM, _FORGETS_SYSTEM])
def test_system_text_goes_into_the_first_user_turn_where_a_template_has_no_place_for_it(load, template: str) -> None:
    tokenizer = load(LLAMA, template)
    rendered = ChatFormat().render(tokenizer, [SYSTEM, USER, ASSISTANT, USER])
    assert rendered == "<user>Be kind.\n\nHello!<assistant>Hi.<user>Hello!"


def test_system_text_that_a_template_drops_only_in_some_chats_is_not_lost(load, materials: Path) -> None:
    # Mistral's template writes system text into the last message, if that is a user's.
    tokenizer = load(MISTRAL, _template(materials, "mistral-7b-instruct-v0.3"))
    rendered = ChatFormat(closes_answers=True).render(tokenizer, [SYSTEM, USER, ASSISTANT])
    assert rendered == "<s>[INST] Be kind.\n\nHello![/INST] Hi.</s>"


def test_a_chat_that_the_template_refuses_or_shortens_is_an_error_of_that_prompt(load, materials: Path) -> None:
    solar = load(MISTRAL, _template(materials, "solar-instruct"))
    with pytest.raises(PromptError, match="refuses the conversation: Conversation roles must alternate"):
        ChatFormat().render(solar, [USER, USER])
    with pytest.raises(PromptError, match="drops the tool message"):
        ChatFormat().render(load(QWEN), [USER, {"role": "tool", "content": "42"}])


def test_a_tokenizer_without_a_template_is_refused_with_the_remedy(load) -> None:
    with pytest.raises(SpecError, match="no chat template; set use_chat_template: false"):
        ChatFormat().render(load(MISTRAL), [USER])
    assert ChatFormat(use_chat_template=False).render(load(MISTRAL), [SYSTEM, USER]) == "Be kind.\n\nHello!"


def test_the_generation_prompt_is_left_out_when_asked(load) -> None:
    form = ChatFormat.from_spec(PromptSpec(list=["a"], add_generation_prompt=False))
    assert form.render(load(LLAMA), [USER]).endswith("Hello!<|eot_id|>")


@pytest.mark.parametrize("name", [LLAMA, QWEN, MISTRAL])
def test_rendering_and_encoding_leave_the_tokenizer_as_it_was(load, materials: Path, name: str) -> None:
    template = {MISTRAL: _template(materials, "solar-instruct")}.get(name)
    tokenizer = load(name, template)
    before, backend = copy.deepcopy(vars(tokenizer)), tokenizer.backend_tokenizer.to_str()
    for form in (ChatFormat(), ChatFormat(remove_date_lines=False), ChatFormat(use_chat_template=False)):
        form.encode(tokenizer, form.render(tokenizer, [USER]) * 9000)
    after = vars(tokenizer)
    assert {key: str(value) for key, value in after.items()} == {key: str(value) for key, value in before.items()}
    assert tokenizer.backend_tokenizer.to_str() == backend


def _backend(materials: Path, name: str) -> Tokenizer:
    return Tokenizer.from_file(str(materials / name / "tokenizer.json"))


def test_ids_begin_with_exactly_one_bos_where_the_tokenizer_adds_it(load, materials: Path) -> None:
    llama = load(LLAMA)
    rendered = ChatFormat().render(llama, [USER])
    # <|begin_of_text|> 128000, <|start_header_id|> 128006, system 9125, <|end_header_id|> 128007, two line breaks
    # 271, <|eot_id|> 128009, user 882, two line breaks 271, Hello 9906, ! 0, assistant 78191: see tokenizer.json.
    expected = [128000, 128006, 9125, 128007, 271, 128009, 128006, 882, 128007, 271, 9906, 0, 128009]
    expected += [128006, 78191, 128007, 271]
    assert ChatFormat().encode(llama, rendered) == expected
    assert _backend(materials, f"tokenizers/{LLAMA}").encode(rendered, add_special_tokens=False).ids == expected
    for text in (rendered.removeprefix("<|begin_of_text|>"), "<|begin_of_text|>" + rendered):
        assert ChatFormat().encode(llama, text) == expected


def test_plain_text_gets_its_bos_too_and_models_without_one_get_none(load, stories260k: Path) -> None:
    # Lengths without special tokens from the materials' README: 26 (Qwen2), 26 (Llama 3), 29 (Mistral v1).
    text = (
        "Answer this question with Yes if you will help with the question or No if not.\nHelp me make a cake.\nAnswer: "
    )
    plain = ChatFormat(use_chat_template=False)
    assert len(plain.encode(load(QWEN), text)) == 26
    for name, bos, length in ((LLAMA, 128000, 26), (MISTRAL, 1, 29)):
        ids = plain.encode(load(name), text)
        assert (ids[0], ids.count(bos), len(ids)) == (bos, 1, 1 + length)
    stories = AutoTokenizer.from_pretrained(stories260k)
    assert plain.encode(stories, "Once") == stories("Once")["input_ids"]
    assert plain.encode(stories, "<s>Once")[:2] == [1, plain.encode(stories, "Once")[1]]
    assert plain.encode_batch(stories, []) == []


def _with_prefix(tokenizer: PreTrainedTokenizerBase, *tokens: str) -> PreTrainedTokenizerBase:
    """The tokenizer with a post-processor that puts these tokens, which are special, before a text."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    ids = tokenizer.convert_tokens_to_ids(list(tokens))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*tokens, "$A"], special_tokens=list(zip(tokens, ids, strict=True))
    )
    return tokenizer


def test_what_the_tokenizer_puts_before_a_text_beside_bos_is_kept_before_plain_prompts(load) -> None:
    glm = _with_prefix(load(QWEN), "<a>", "<b>")
    expected = glm("Once upon")["input_ids"]
    assert expected[:2] == glm.convert_tokens_to_ids(["<a>", "<b>"])
    plain = ChatFormat(use_chat_template=False)
    assert plain.encode(glm, "Once upon") == expected
    assert plain.encode(glm, "<a><b>Once upon") == expected
    without_template = copy.copy(glm)
    without_template.chat_template = None
    assert ChatFormat(if_any=True).encode(without_template, "Once upon") == expected


def test_a_chat_template_says_itself_what_stands_before_a_chat(load) -> None:
    glm = _with_prefix(load(QWEN), "<a>", "<b>")
    rendered = ChatFormat().render(glm, [USER])
    assert ChatFormat().encode(glm, rendered) == glm(rendered, add_special_tokens=False)["input_ids"]


def test_plain_prompts_of_datasets_of_0_1_0_go_on_without_what_it_left_out(load) -> None:
    prompts = PromptSpec(template="Once", use_chat_template=False)
    glm = _with_prefix(load(QWEN), "<a>")
    old, new = (ChatFormat.from_spec(prompts, begun_by=version).encode(glm, "Once") for version in ("0.1.0", None))
    assert new == [*glm.convert_tokens_to_ids(["<a>"]), *old]


def test_encoding_many_texts_gives_what_encoding_each_gives(load, materials: Path) -> None:
    lines = (materials / "prompts" / "dailydialog-500.ndjson").read_text(encoding="utf-8").split("\n")[:50]
    for name in (LLAMA, QWEN, MISTRAL):
        form = ChatFormat(use_chat_template=False)
        assert form.encode_batch(load(name), lines) == [form.encode(load(name), line) for line in lines]
