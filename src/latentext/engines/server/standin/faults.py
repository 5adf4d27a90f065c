"""How a server can misbehave, one name each: what the contract tests ask the engine to survive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Fault:
    """What happens to one request in place of a good answer.

    Attributes:
        status: of the answer.
        body: its bytes; None is the good answer's, after `edit`.
        headers: further ones.
        connection: ``drop`` closes it without a word, ``cut`` in the middle of the answer; ``drip`` sends a byte every
            `seconds` and never ends in time; ``hang`` sends nothing for `seconds`.
        edit: replaces fields of the good answer; a name with dots goes into lists and objects.
        billed: whether a provider bills for it; None: if its status is good.
    """

    name: str
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    connection: Literal["keep", "drop", "cut", "drip", "hang"] = "keep"
    edit: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.05
    billed: bool | None = None

    @property
    def answers(self) -> bool:
        """Whether a provider would bill for it: a good status, and the answer was sent."""
        return self.status == 200 if self.billed is None else self.billed

    @classmethod
    def error(
        cls, status: int, message: str, *, code: str | None = None, kind: str = "error", headers: Any = None
    ) -> Fault:
        """An error in OpenAI's form."""
        inner = {"message": message, "type": kind, "param": None, "code": code}
        return cls(f"{status} {code or kind}", status, json.dumps({"error": inner}).encode(), dict(headers or {}))

    @classmethod
    def bad_key(cls) -> Fault:
        """401: the key is wrong."""
        what = "Incorrect API key provided: sk-abcdef1234567890. You can find your key at example.org."
        return cls.error(401, what, code="invalid_api_key", kind="invalid_request_error")

    @classmethod
    def forbidden(cls) -> Fault:
        """403: the key may not do that."""
        what = "You have insufficient permissions for this operation."
        return cls.error(403, what, kind="invalid_request_error")

    @classmethod
    def no_model(cls) -> Fault:
        """404: there is no such model."""
        what = "The model `gpt-nope` does not exist or you do not have access to it."
        return cls.error(404, what, code="model_not_found", kind="invalid_request_error")

    @classmethod
    def too_many(cls, retry_after: float | None = None) -> Fault:
        """429: too fast; with or without a time to wait, in seconds."""
        headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        return cls.error(429, "Rate limit reached", code="rate_limit_exceeded", kind="requests", headers=headers)

    @classmethod
    def no_quota(cls) -> Fault:
        """429 that will not pass: the account has no credit left."""
        what = "You exceeded your current quota, please check your plan and billing details."
        return cls.error(429, what, code="insufficient_quota", kind="insufficient_quota")

    @classmethod
    def too_long(cls) -> Fault:
        """400: the prompt does not fit the model's context."""
        what = "This model's maximum context length is 8192 tokens, however you requested 8406 tokens."
        return cls.error(400, what, code="context_length_exceeded", kind="invalid_request_error")

    @classmethod
    def unsupported(cls, parameter: str = "max_tokens") -> Fault:
        """400: the model does not take this parameter."""
        what = f"Unsupported parameter: '{parameter}' is not supported with this model."
        return cls.error(400, what, code="unsupported_parameter", kind="invalid_request_error")

    @classmethod
    def failing(cls, status: int = 500) -> Fault:
        """500: the server's own fault, in its form."""
        return cls.error(status, "The server had an error while processing your request", kind="server_error")

    @classmethod
    def bad_gateway(cls) -> Fault:
        """502 from something in between, which writes HTML."""
        return cls("bad gateway", 502, b"<html><body><h1>502 Bad Gateway</h1></body></html>")

    @classmethod
    def dropped(cls) -> Fault:
        """The connection is closed without an answer."""
        return cls("dropped", connection="drop")

    @classmethod
    def cut(cls) -> Fault:
        """The connection is closed in the middle of the answer."""
        return cls("cut", connection="cut")

    @classmethod
    def hanging(cls, seconds: float = 30.0) -> Fault:
        """No answer for so long."""
        return cls("hanging", connection="hang", seconds=seconds)

    @classmethod
    def dripping(cls, seconds: float = 0.05) -> Fault:
        """A byte at a time: each read is in time, the whole never is."""
        return cls("dripping", connection="drip", seconds=seconds)

    @classmethod
    def malformed(cls) -> Fault:
        """200 with half a JSON object."""
        return cls("malformed", body=b'{"id": "chatcmpl-1", "choices": [{"message": {"con')

    @classmethod
    def edited(cls, name: str, edit: Mapping[str, Any]) -> Fault:
        """A good answer with other fields."""
        return cls(name, edit=edit)

    @classmethod
    def no_choice(cls) -> Fault:
        """200 with an empty list of choices."""
        return cls.edited("no choice", {"choices": []})

    @classmethod
    def null_content(cls) -> Fault:
        """200 with content null and nothing else."""
        return cls.edited("null content", {"choices.0.message.content": None})

    @classmethod
    def refusal(cls) -> Fault:
        """200 with content null and the model's refusal."""
        words = {"content": None, "refusal": "I'm sorry, I can't help with that.", "role": "assistant"}
        return cls.edited("refusal", {"choices.0.message": words})

    @classmethod
    def length(cls) -> Fault:
        """A text that was cut at the limit."""
        return cls.edited("length", {"choices.0.finish_reason": "length"})

    @classmethod
    def filtered(cls) -> Fault:
        """A text that a content filter stopped."""
        return cls.edited("filtered", {"choices.0.finish_reason": "content_filter"})

    @classmethod
    def no_usage(cls) -> Fault:
        """A good answer that does not say how many tokens it took."""
        return cls.edited("no usage", {"usage": None})


def edited(answer: dict[str, Any], edit: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an answer with fields replaced; ``a.0.b`` is field b of the first of a."""
    answer = json.loads(json.dumps(answer))
    for name, value in edit.items():
        *path, last = name.split(".")
        place: Any = answer
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[last] = value
    return answer
