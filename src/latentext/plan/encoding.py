"""From chats to prompts: rendered, encoded in batches, with a reason in place of each that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from latentext.errors import PromptError
from latentext.plan.keys import NO_PROMPT, prompt_digest, row_digest
from latentext.plan.sweep import Chats
from latentext.prompts.chat import ChatFormat, join_texts
from latentext.prompts.rows import BadRow
from latentext.request import Message

_AT_ONCE = 1024
_MOST_CHARACTERS = 8 << 20
"""Of a prompt: no model reads more, and encoding it would take gigabytes."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as an engine takes it; without a tokenizer `token_ids` is empty and `text` is the messages' texts."""

    variables: Mapping[str, Any]
    messages: Sequence[Message]
    text: str
    token_ids: Sequence[int]
    temperature: float | None = None

    @property
    def identity(self) -> Sequence[int] | Sequence[Message]:
        """What the request's key hashes."""
        return self.token_ids or self.messages

    @property
    def length(self) -> int:
        """Tokens; without a tokenizer the bytes of the text, which bound them."""
        return len(self.token_ids) or len(self.text.encode())


class PromptEncoder:
    """Makes the prompts of a plan, from any place in it."""

    def __init__(self, conversations: Chats, form: ChatFormat, tokenizer: PreTrainedTokenizerBase | None):
        self._conversations, self._tokenizer = conversations, tokenizer
        self._form = form
        self._render = join_texts if tokenizer is None else form.renderer(tokenizer)

    def row_of(self, index: int) -> int:
        """The number of the row that a request is made of, from 0."""
        return self._conversations.row_of(index)

    def prompts(self, start: int, stop: int) -> Iterator[Prompt | BadRow]:
        """The prompts of requests `start` … `stop` - 1; only some are held at a time."""
        for first in range(start, stop, _AT_ONCE):
            yield from self._some(range(first, min(first + _AT_ONCE, stop)))

    def _some(self, indices: range) -> list[Prompt | BadRow]:
        drafts = [self._draft(index) for index in indices]
        texts = [draft.text for draft in drafts if isinstance(draft, Prompt)]
        if self._tokenizer is None:
            return drafts
        encoded = iter(self._form.encode_batch(self._tokenizer, texts))
        return [replace(draft, token_ids=next(encoded)) if isinstance(draft, Prompt) else draft for draft in drafts]

    def _draft(self, index: int) -> Prompt | BadRow:
        """The prompt as text, not encoded yet."""
        conversation = self._conversations[index]
        if isinstance(conversation, BadRow):
            return conversation
        try:
            text = self._render(conversation.messages)
        except PromptError as error:
            return BadRow("chat-template", "; ".join(filter(None, (error.what, error.remedy))))
        if len(text) > _MOST_CHARACTERS:
            what = f"the prompt has {len(text):,} characters; at most {_MOST_CHARACTERS:,} are encoded"
            return BadRow("prompt-too-long", what)
        return Prompt(conversation.variables, conversation.messages, text, (), conversation.temperature)


def digests_of(prompt: Prompt | BadRow) -> tuple[int, int]:
    """The digest of a prompt, and that of what is stored with it; `NO_PROMPT` for a row that gave none."""
    if isinstance(prompt, BadRow):
        return NO_PROMPT, NO_PROMPT
    return prompt_digest(prompt.identity, prompt.temperature), row_digest(prompt.variables, prompt.messages)
