"""From messages to the text a model reads, and from that text to token ids.

The model's own chat template decides the form. Three things are decided here, because they would otherwise change
results silently: date lines are left out (`latentext.prompts.dates`), system text goes into the first user turn where
a template has no place for it, and the ids begin with exactly one BOS where the tokenizer puts one. Nothing here
changes the tokenizer object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from latentext.errors import PromptError, SpecError
from latentext.libraries.transformers.models import render_chat
from latentext.models.door import guarded
from latentext.models.registry import registered_models
from latentext.prompts.before import begun_by_first
from latentext.prompts.dates import (
    SENTINEL,
    SHADOW_DATE_FUNCTION,
    date_sentences,
    drop_date_lines,
    drop_dates,
    is_date_line,
    mask_cutoff_phrases,
    split_lines,
    unguessable,
)
from latentext.prompts.legacy_formats import IF_ANY, TEMPLATE, LegacyFormat, legacy_format
from latentext.prompts.opening_tokens import added_prefix, with_one_prefix
from latentext.request import Message
from latentext.spec import TEMPLATE_VARIABLES, PromptSpec, Spec

_NO_VARIABLES = {
    "messages", "conversations", "chat_template", "tools", "documents", "add_generation_prompt",
    "continue_final_message", "return_assistant_tokens_mask",
}  # fmt: skip
_KEEP_DATES = "keep both with prompts.remove_date_lines: false"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How messages become a prompt.

    Attributes:
        use_chat_template: False joins the messages' texts with blank lines instead, without any role marks.
        remove_date_lines: leave out the template's sentences about the date and the knowledge cut-off.
        whole_date_lines: leave them out as version 0.1.0 did, for datasets that it began.
        closes_answers: take a chat that ends in an assistant message, which the template closes: where nothing is
            written behind it, and in datasets that 0.1.0 began.
        bos_alone: put no token but the BOS before plain prompts, as 0.1.0 did, for datasets that it began.
        add_generation_prompt: end with the header of the assistant's turn.
        legacy: a hand-written format in place of the tokenizer's template.
        if_any: a tokenizer without a template, as base models have, gets the messages' texts without marks.
        template_variables: what the template reads beside the messages, as a JSON object; empty where nothing.

    Example:
        >>> from latentext.models import resolve_model
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> tokenizer = load_tokenizer(resolve_model("tiny"))
        >>> form = ChatFormat()
        >>> text = form.render(tokenizer, [{"role": "user", "content": "Say yes."}])
        >>> text.endswith("Say yes.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\\n\\n")
        True
        >>> form.encode(tokenizer, text).count(tokenizer.bos_token_id)
        1
    """

    use_chat_template: bool = True
    remove_date_lines: bool = True
    add_generation_prompt: bool = True
    legacy: LegacyFormat | None = None
    if_any: bool = False
    whole_date_lines: bool = False
    closes_answers: bool = False
    template_variables: str = ""
    bos_alone: bool = False

    @classmethod
    def of_run(cls, spec: Spec, begun_by: str | None) -> ChatFormat:
        """The format of a run's prompts: with a server, the local rendering has the variables that requests carry.

        Args:
            begun_by: the version of latentext that made the dataset's first shard, None for a new one. Version 0.1.0
                rendered without the variables.

        Raises:
            SpecError: a variable has a name that rendering itself uses.
        """
        form = cls.from_spec(spec.prompts, spec.model.name, begun_by, given=spec.decoding.given)
        variables = spec.model.template_variables
        if not variables or spec.model.local is None or begun_by_first(begun_by):
            return form
        if taken := sorted(_NO_VARIABLES & variables.keys()):
            raise SpecError(
                "is no variable of a chat template", where=f"model.api.request.{TEMPLATE_VARIABLES}.{taken[0]}"
            )
        return replace(form, template_variables=json.dumps(variables, sort_keys=True))

    @classmethod
    def from_spec(
        cls, prompts: PromptSpec, model: str = "", begun_by: str | None = None, *, given: bool = False
    ) -> ChatFormat:
        """The format that a spec asks for; `auto` is the one that the registry has for `model`.

        Args:
            begun_by: the version of latentext that made the dataset's first shard, None for a new one.
            given: the prompts are whole texts, behind which nothing is written.

        Raises:
            SpecError: no format has that name.
        """
        name = prompts.chat_format
        if_any = name == IF_ANY
        if name in ("auto", IF_ANY):
            entry = registered_models().get(model)
            name = TEMPLATE if entry is None else entry.chat_format
        flags = (prompts.use_chat_template, prompts.remove_date_lines, prompts.add_generation_prompt)
        legacy = legacy_format(name) if prompts.use_chat_template else None
        old = begun_by_first(begun_by)
        return cls(*flags, legacy, if_any, whole_date_lines=old, closes_answers=old or given, bos_alone=old)

    def render(self, tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
        """The prompt as text, with the special tokens that the template writes.

        Raises:
            SpecError: the tokenizer has no chat template.
            PromptError: the template refuses this conversation or drops a message of it, or writes message text on
                the line of the date.
        """
        return self.renderer(tokenizer)(messages)

    def renderer(self, tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Message]], str]:
        """`render` for many conversations: what the tokenizer has to say is asked once."""
        if not self.use_chat_template:
            return join_texts
        if self.legacy is not None:
            return self.legacy.render
        if self._has_no_template(tokenizer):
            return join_texts
        return _Template.of(tokenizer, self).render

    def removed_dates(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """The template's sentences about dates that prompts are made without, for people: the date itself as ``…``."""
        if not self.use_chat_template or self.legacy is not None or not self.remove_date_lines:
            return []
        if self._has_no_template(tokenizer):
            return []
        template = _Template.of(tokenizer, self)
        try:
            rendered = template.fill([{"role": "user", "content": "-"}])
        except PromptError:  # What it wants beside a user's turn is said prompt by prompt.
            return []
        return date_sentences(rendered, template.special_tokens)

    def encode(self, tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
        """Token ids of a rendered prompt, with exactly one BOS if this tokenizer begins its texts with one."""
        return self.encode_batch(tokenizer, [text])[0]

    def encode_batch(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
        """The same for many texts, on all cores.

        What else the tokenizer puts before a text, such as ``[gMASK]<sop>`` of GLM, stands once before plain prompts; a
        chat template writes it where it belongs.
        """
        if not texts:
            return []
        # verbose=False: the warning about long texts would be noted on the tokenizer object.
        with guarded(tokenizer.name_or_path, kind="tokenizer"):
            encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        prefix = added_prefix(tokenizer)
        bos = tokenizer.bos_token_id
        if prefix != [bos] and (self.bos_alone or not self._is_plain(tokenizer)):
            prefix = [bos] if bos is not None and prefix[:1] == [bos] else []
        return [with_one_prefix(ids, prefix) for ids in encoded["input_ids"]] if prefix else encoded["input_ids"]

    def _is_plain(self, tokenizer: PreTrainedTokenizerBase) -> bool:
        """Whether messages are joined without any marks."""
        return not self.use_chat_template or (self.legacy is None and self._has_no_template(tokenizer))

    def _has_no_template(self, tokenizer: PreTrainedTokenizerBase) -> bool:
        return self.if_any and tokenizer.chat_template is None


def join_texts(messages: Sequence[Message]) -> str:
    """The messages without roles: their texts, with blank lines between."""
    return "\n\n".join(message["content"] for message in messages)


@dataclass(frozen=True, slots=True)
class _Template:
    """A chat template with all that its rendering depends on, as plain values: the key of a cache."""

    text: str
    variables: tuple[tuple[str, str], ...]
    special_tokens: tuple[str, ...]
    remove_date_lines: bool
    add_generation_prompt: bool
    whole_date_lines: bool
    closes_answers: bool
    template_variables: str

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, form: ChatFormat) -> _Template:
        if not tokenizer.chat_template:
            raise SpecError(
                "the tokenizer has no chat template", where="prompts", remedy="set use_chat_template: false"
            )
        variables = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        return cls(
            _text_of(tokenizer),
            tuple(sorted(variables.items())),
            tuple(sorted(special | set(variables.values()))),
            form.remove_date_lines,
            form.add_generation_prompt,
            form.whole_date_lines,
            form.closes_answers,
            form.template_variables,
        )

    def render(self, messages: Sequence[Message]) -> str:
        if messages and messages[-1]["role"] == "assistant" and not self.closes_answers:
            raise PromptError(
                "the chat ends in an assistant message, which the chat template closes: the model would write behind "
                "its end",
                where="prompts",
                remedy="leave that message out, or use_chat_template: false",
            )
        messages = _seat_system_text(self, messages)
        layout = _layout(self, tuple(message["role"] for message in messages))
        if layout.problem:
            raise PromptError(layout.problem, where="prompts", remedy=layout.remedy)
        if not self.remove_date_lines:
            return self.fill(messages)
        masked = mask_cutoff_phrases(messages)
        filled = self.fill(masked.messages)
        if self.whole_date_lines:
            return masked.unmask(drop_date_lines(filled, self.special_tokens))
        return masked.unmask(drop_dates(filled, self.special_tokens, blank_lines=layout.blank_line_behind_dates))

    def fill(self, messages: Sequence[Message]) -> str:
        """Render as it stands, the dates replaced by the sentinel if they are to go."""
        variables: dict[str, Any] = dict(self.variables)
        if self.template_variables:
            variables |= json.loads(self.template_variables)
        text = self.text
        if self.remove_date_lines:
            variables["date_string"] = SENTINEL
            text = SHADOW_DATE_FUNCTION + text
        try:
            return render_chat(text, messages, add_generation_prompt=self.add_generation_prompt, variables=variables)
        except TemplateError as error:
            raise PromptError(f"the chat template refuses the conversation: {error}", where="prompts") from error


def _text_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of a tokenizer's chat template; of several that have names the one for plain chats.

    Raises:
        SpecError: none of them is for plain chats.
    """
    found = tokenizer.chat_template
    names: list[str] = []
    if isinstance(found, dict):
        names, found = sorted(found), found.get("default")
    if isinstance(found, str):
        return found
    kinds = f"only has chat templates named {', '.join(names)}" if names else "has a chat template that is no text"
    raise SpecError(
        f"the tokenizer {kinds}", where="prompts", remedy="set use_chat_template: false, or give it a default template"
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a template does with a sequence of roles, whatever the texts are.

    Attributes:
        problem, remedy: in words, why such a conversation cannot be used, and what to do.
        shown: for each message whether it appears.
        blank_line_behind_dates: the template itself writes one; one that a message begins with is never touched.
    """

    problem: str
    shown: tuple[bool, ...] = ()
    blank_line_behind_dates: bool = False
    remedy: str = "change the messages, or use_chat_template: false"


@lru_cache(maxsize=256)
def _layout(template: _Template, roles: tuple[str, ...]) -> _Layout:
    """Render placeholders, to see which messages the template shows and whether one stands on the date's line."""
    texts = [unguessable() for _ in roles]
    try:
        rendered = template.fill([{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)])
    except PromptError as error:
        return _Layout(error.what)
    shown = tuple(text in rendered for text in texts)
    if not all(shown):
        dropped = roles[shown.index(False)]
        return _Layout(f"the chat template drops the {dropped} message", shown)
    if not template.remove_date_lines:
        return _Layout("", shown)
    for piece, is_line in split_lines(rendered, template.special_tokens):
        if is_line and is_date_line(piece) and any(text in piece for text in texts):
            what = "the chat template writes message text on the line of the date"
            return _Layout(what, shown, remedy=_KEEP_DATES)
    short, long = (drop_dates(rendered, template.special_tokens, blank_lines=drop) for drop in (True, False))
    if SENTINEL in short and not template.whole_date_lines:
        what = "the chat template writes the date into a sentence with other words"
        return _Layout(what, shown, remedy=_KEEP_DATES)
    return _Layout("", shown, blank_line_behind_dates=short != long)


def _seat_system_text(template: _Template, messages: Sequence[Message]) -> Sequence[Message]:
    """Put system text before the first user turn's text, a blank line between, if the template has no place for it.

    Templates without a system role either raise or leave the text out; both are found by trying.
    """
    if not messages or messages[0]["role"] != "system":
        return messages
    layout = _layout(template, tuple(message["role"] for message in messages))
    if not layout.problem or (layout.shown and layout.shown[0]):
        return messages
    system, *others = messages
    first_user = next((place for place, message in enumerate(others) if message["role"] == "user"), None)
    if first_user is None:
        return messages
    user = others[first_user]
    others[first_user] = {**user, "content": f"{system['content']}\n\n{user['content']}"}
    return others
