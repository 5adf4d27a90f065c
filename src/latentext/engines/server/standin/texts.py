"""What the stand-in says: plain words drawn from the request itself, so that equal requests get equal answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_TEXT = """
the a small old red quiet bright happy river garden cat house letter window winter morning finds keeps sees opens paints
follows near under behind with and then again slowly today
"""
_WORDS = _TEXT.split()


@dataclass(frozen=True, slots=True)
class StandInReply:
    """What a request is answered: a text, or a refusal (`text` None)."""

    text: str | None
    finish_reason: str = "stop"
    refusal: str | None = None


Answers = Callable[[Mapping[str, Any]], StandInReply]
"""From a request body to the reply; a pure function of the body, so that batches and real time agree."""


def plain_text(body: Mapping[str, Any]) -> StandInReply:
    """Some words, as many as the request allows or a few less.

    Example:
        >>> body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
        >>> plain_text(body) == plain_text(body)
        True
    """
    most = int(body.get("max_completion_tokens") or body.get("max_tokens") or 20)
    length = 3 + fraction(body, "length") * 20
    words = [_WORDS[int(fraction(body, f"word {i}") * len(_WORDS))] for i in range(min(int(length), most))]
    return StandInReply(" ".join(words), "length" if length > most else "stop")


def fraction(body: Mapping[str, Any], purpose: str) -> float:
    """A number in [0, 1) that depends on the request and a purpose alone."""
    asked = json.dumps([body.get(name) for name in ("model", "messages", "seed")], sort_keys=True)
    digest = hashlib.sha256(f"latentext stand-in 1\n{purpose}\n{asked}\n".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """About how many tokens the prompt of a request has, by its bytes."""
    return sum(len(str(message.get("content") or "")) // 4 + 4 for message in body.get("messages", ()))


def chat_completion(body: Mapping[str, Any], reply: StandInReply, number: int, prompt: int) -> dict[str, Any]:
    """The answer in OpenAI's form, with so many tokens in the prompt; those of the text are its words."""
    written = len((reply.text or reply.refusal or "").split()) or 1
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    return {
        "id": f"chatcmpl-standin-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written},
    }
