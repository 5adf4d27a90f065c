"""The JSON body of an answer → a text, or the reason why there is none; the same for real time and for batches.

What was answered was paid, whatever it says: a refusal, an answer without a choice and a text stopped by a filter are
failures of their request, recorded with a reason and kept in the journal like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from latentext.engines.server.errors import words_of
from latentext.engines.server.redaction import Redaction
from latentext.engines.server.server_text import one_line, parse_json, well_formed, words_of_page
from latentext.engines.server.usage import read_usage
from latentext.finish_reasons import FAILED, FILTERED, REFUSED, STOP, finish_reason
from latentext.request import Completion, Failure, Request, Usage

_REASONING = ("reasoning_content", "reasoning", "thinking")
"""Fields in which servers give a model's thoughts."""


_SHOWN = 2000
"""Bytes of an answer that is no JSON that are looked at for its words."""


class MalformedAnswerError(ValueError):
    """The answer is no JSON object: cut on its way, or from something that is no such server."""


@dataclass(frozen=True, slots=True)
class AnswerText:
    """What an answer holds: the text, or a failure's `reason` and `message`; `usage` where the server says it.

    `finish_reason` is a word of `latentext.finish_reasons`.
    """

    text: str | None
    finish_reason: str
    usage: Usage | None
    reason: str = ""
    message: str = ""
    cache_write_tokens: int = 0


def read_body(raw: bytes) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        MalformedAnswerError: it is none.
    """
    try:
        body = parse_json(raw)
    except (ValueError, RecursionError) as error:
        begins = one_line(words_of_page(raw[:_SHOWN].decode("utf-8", "replace")), most=60)
        what = f"an answer of {len(raw)} bytes is no JSON" if raw.strip() else "the answer is empty"
        raise MalformedAnswerError(f"{what}: {begins}" if begins else what) from error
    if not isinstance(body, dict):
        raise MalformedAnswerError("an answer is no JSON object")
    return body


def read_text(body: Mapping[str, Any]) -> AnswerText:
    """The text of an answer's first choice, or why there is none.

    A text keeps what the server sent, but for halves of surrogate pairs: each becomes U+FFFD (`well_formed`).

    Example:
        >>> read_text({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}).text
        'Hi'
        >>> read_text({"choices": []}).reason
        'no-choice'
    """
    usage, written = _usage(body.get("usage"))
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        words = words_of(body.get("error")) or words_of(body)
        said = f"the server answered without a text{': ' if words else ''}{words}"
        return AnswerText(None, "", usage, "no-choice", said, written)
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    finish, content = finish_reason(choice.get("finish_reason")), _content(message.get("content"))
    reason, problem = _problem(choice, message, finish, content)
    return AnswerText(None if reason else content, finish, usage, reason, problem, written)


def _problem(
    choice: Mapping[str, Any], message: Mapping[str, Any], finish: str, content: str | None
) -> tuple[str, str]:
    """Why a choice holds no text that can be used: a reason and a message, or two empty ones."""
    if finish == FILTERED:
        return "content-filter", "the server's content filter stopped the text"
    refusal = message.get("refusal")
    if finish == REFUSED or (isinstance(refusal, str) and refusal):
        return "refused", f"the model refused: {one_line(str(refusal or content or 'it does not say why'))}"
    if finish == FAILED:
        words = words_of(choice.get("error"))
        word = one_line(str(choice["finish_reason"]))
        return "aborted", f"the server broke the text off ({word}){': ' if words else ''}{words}"
    if content:
        return "", ""
    thoughts = next((t for name in _REASONING if isinstance(t := message.get(name), str) and t), "")
    if thoughts:
        why = "the limit of tokens was spent on reasoning" if finish != STOP else "the model gave only its reasoning"
        return "only-reasoning", f"{why}: {one_line(thoughts, most=None)}"
    if content is not None:
        return "", ""
    is_null = "content" in message and message["content"] is None
    return "no-text", "the answer's content is null" if is_null else "the answer has no text in message.content"


def _content(content: object) -> str | None:
    """The text of a message, whole or in parts; None if it has none."""
    if isinstance(content, str):
        return well_formed(content)
    if not isinstance(content, list):
        return None
    texts = [part if isinstance(part, str) else _text_of(part) for part in content]
    found = [text for text in texts if text is not None]
    return well_formed("".join(found)) if found else None


def _text_of(part: object) -> str | None:
    """The text of a part; other parts, such as thoughts and images, have none."""
    if not isinstance(part, Mapping) or part.get("type", "text") not in ("text", "output_text"):
        return None
    text = part.get("text")
    return text if isinstance(text, str) else None


def read_kept(raw: bytes, redaction: Redaction) -> AnswerText:
    """The text of an answer in the journal, whichever version put it there.

    One that cannot be read, such as thousands of brackets in brackets, is a failure: it was paid, and must not stop
    every later run.
    """
    try:
        return read_text(read_body(redaction.of_bytes(raw)))
    except MalformedAnswerError as error:
        return AnswerText(None, "", None, "malformed-answer", str(error))


def without_key(text: AnswerText, redaction: Redaction) -> AnswerText:
    """A text that does not hold the key, also where its parts were put together to it."""
    if text.text is None:
        return replace(text, message=redaction.of_text(text.message))
    return replace(text, text=redaction.of_text(text.text))


def completion_of(
    request: Request, sample: int, text: AnswerText, *, tokenizer: Any = None, ends_with_eos: bool = False
) -> Completion | Failure:
    """A text as the rest of the package knows it.

    Args:
        tokenizer: of the local model; its ids of the text, to which the end token is added where the model ended the
            text by itself, since the end token counts (docs/architecture.md, *Rows*).
        ends_with_eos: a text with finish_reason ``stop`` ended by its end token, not by a stop string. A text that
            ended for another reason, or an unknown one, gets none.
    """
    if text.text is None:
        return Failure(request.index, sample, text.reason, text.message)
    token_ids: list[int] = []
    if tokenizer is not None:
        token_ids = list(tokenizer.encode(text.text, add_special_tokens=False))
        if ends_with_eos and text.finish_reason == STOP and tokenizer.eos_token_id is not None:
            token_ids.append(tokenizer.eos_token_id)
    return Completion(
        request.index, sample, text.text, tuple(token_ids), text.finish_reason, usage=text.usage, served=True
    )


def _usage(value: object) -> tuple[Usage | None, int]:
    """Usage and cache-write tokens of an answer."""
    metered = read_usage(value)
    return (None, 0) if metered is None else (metered.usage, metered.cache_write_tokens)
