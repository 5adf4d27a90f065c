"""The most that a request can cost, known before it is sent.

Every byte of a prompt counts as a token (a token is at least one byte in every byte-level or sentencepiece vocabulary),
with some more for the frame of each message; of the text, all that the request's body allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latentext.engines.server.prices import Price
from latentext.engines.server.spend import picodollars
from latentext.engines.server.usage import MOST_TOKENS
from latentext.errors import EngineError, SpecError

_TOKENS_A_MESSAGE = 16
_TOKENS_A_REQUEST = 16
"""Of the frame that a chat format puts around the texts; OpenAI's takes 3 or 4 a message."""

OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")
_FACTORS = ("n", "best_of")
"""Fields by which the server writes, and counts, several texts for one."""
_IN_THE_PROMPT = ("response_format", "tools", "functions")
"""Fields that a server puts into the prompt, as a schema of the answer or of calls."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The most that a request can cost; `picodollars` is 0 where the price is unknown."""

    tokens: int
    picodollars: int

    def __add__(self, other: Worst) -> Worst:
        return Worst(self.tokens + other.tokens, self.picodollars + other.picodollars)

    def __sub__(self, other: Worst) -> Worst:
        return Worst(self.tokens - other.tokens, self.picodollars - other.picodollars)


NOTHING = Worst(0, 0)


def worst_case(body: Mapping[str, Any], price: Price | None, *, batch: bool = False) -> Worst:
    """The most that a request body can cost: every byte of its texts a token, and all the output it allows.

    Example:
        >>> worst_case({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}, None).tokens
        47
    """
    return worst_of_tokens(prompt_bound(body), output_bound(body), price, batch=batch)


def worst_of_tokens(prompt: int, output: int, price: Price | None, *, batch: bool = False) -> Worst:
    """The most that so many tokens can cost."""
    cost = 0 if price is None else picodollars(price.worst_cost(prompt, output, batch=batch))
    return Worst(prompt + output, cost)


def prompt_bound(body: Mapping[str, Any]) -> int:
    """Tokens of the prompt at most."""
    messages = body.get("messages", ())
    texts = sum(len(str(message.get("content") or "").encode("utf-8", "surrogatepass")) for message in messages)
    others = sum(len(repr(body[name]).encode()) for name in _IN_THE_PROMPT if body.get(name))
    return texts + others + _TOKENS_A_MESSAGE * len(messages) + _TOKENS_A_REQUEST


def output_bound(body: Mapping[str, Any]) -> int:
    """Tokens of the output at most; a prediction that is not taken is counted as output too.

    Raises:
        SpecError: the body sets no limit, or one that is no positive whole number, so there is no bound.
    """
    limits = [_positive(body, name) for name in OUTPUT_LIMITS if body.get(name) is not None]
    if not limits:
        raise SpecError(
            "no limit on the output is left in the request",
            where="model.api.request",
            remedy="set max_completion_tokens",
        )
    most = max(limits)
    for name in _FACTORS:
        most *= 1 if body.get(name) is None else _positive(body, name)
    prediction = body.get("prediction")
    return most + (len(json.dumps(prediction, ensure_ascii=True)) if prediction else 0)


def overrun(body: Mapping[str, Any], completion_tokens: int | None, server: str | None) -> EngineError | None:
    """The error that ends a run whose server wrote more than was allowed; None for one that keeps to its limit.

    No cap can be kept with such a server: what the next answer costs is not known before it is there.
    """
    allowed = output_bound(body)
    if completion_tokens is None or completion_tokens <= allowed:
        return None
    return EngineError(
        f"the server wrote {completion_tokens:,} tokens where {allowed:,} were allowed",
        where=server or "OpenAI",
        remedy="what was answered is kept; find out why it does not keep to max_tokens, then give the same command",
        heading="Quota and budgets",
    )


def _positive(body: Mapping[str, Any], name: str) -> int:
    value = body[name]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_TOKENS:
        return value
    raise SpecError(
        f"is {value!r}", where=f"model.api.request.{name}", remedy=f"give a whole number from 1 to {MOST_TOKENS:,}"
    )
