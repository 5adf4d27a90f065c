"""What a reward judges: one continuation of one prompt, as text and as tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latentext.request import Message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt and one continuation of it.

    Attributes:
        prompt: what was asked: the text before the continuation, or the last user turn of a chat.
        text: the continuation as the model wrote it, white space and all.
        joint: what stands between the two in `full_text`: nothing in plain text, a line break in a chat.
        prompt_token_ids, token_ids: the same as the model saw and wrote it, special tokens included; empty when
            unknown.
        messages: the whole chat that was asked, where it is more than the prompt as the user's one turn.
        logprobs: log-probability of each of `token_ids` under the model that wrote them, where recorded.

    Example:
        >>> candidate = Candidate("What is tea?", " A drink.")
        >>> candidate.full_text, candidate.continuation
        ('What is tea? A drink.', 'A drink.')
    """

    prompt: str
    text: str
    joint: str = ""
    prompt_token_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None
    messages: tuple[Message, ...] = ()

    @property
    def full_text(self) -> str:
        """Prompt and continuation as one text."""
        return self.prompt + self.joint + self.text

    @property
    def continuation(self) -> str:
        """The continuation without white space around it: what reward models are given."""
        return self.text.strip()

    @property
    def chat(self) -> list[Message]:
        """The conversation with the continuation as the assistant's answer: what models with a chat template read.

        Example:
            >>> [message["role"] for message in Candidate("Why?", "Because.").chat]
            ['user', 'assistant']
        """
        *before, last = self.messages or ({"role": "user", "content": self.prompt},)
        if last["role"] == "assistant":  # The text goes on where this message ends.
            return [*before, {**last, "content": last["content"] + self.text}]
        return [*before, last, {"role": "assistant", "content": self.text}]

    @property
    def key(self) -> str:
        """32 hex digits that equal candidates share: equal prompts, texts and tokens are scored once."""
        content: list[Any] = [self.prompt, self.joint, self.text, self.prompt_token_ids, self.token_ids, self.logprobs]
        if self.messages:
            content.append(self.messages)
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def candidates_of(records: Sequence[Mapping[str, Any]]) -> Iterator[Candidate]:
    """Candidates of records (rows of a dataset's records table as dictionaries), in their order.

    A record is plain text when its rendered prompt ends with the user's words; otherwise a chat template stands between
    them and the answer, which no reward should read; reward models with a template of their own read `Candidate.chat`.

    Example:
        >>> record = {"prompt": "Hi", "messages": '[{"role": "user", "content": "Hi"}]', "text": " there"}
        >>> next(candidates_of([record])).full_text
        'Hi there'
    """
    for record in records:
        messages = json.loads(record.get("messages") or "[]")
        asked = _last_user_turn(messages, record)
        yield Candidate(
            prompt=asked,
            text=record["text"],
            joint="" if record["prompt"].endswith(asked) else "\n",
            prompt_token_ids=tuple(record.get("prompt_token_ids") or ()),
            token_ids=tuple(record.get("token_ids") or ()),
            logprobs=None if record.get("logprobs") is None else tuple(record["logprobs"]),
            messages=() if messages == [{"role": "user", "content": asked}] else tuple(messages),
        )


def _last_user_turn(messages: Sequence[Message], record: Mapping[str, Any]) -> str:
    turns = [str(message["content"]) for message in messages if message.get("role") == "user"]
    return turns[-1] if turns else str(record["prompt"])
