"""What a server says that an answer took, believed whole or not at all.

Caps and bills follow from these numbers, so nonsense must not pass for a small one: every count has to be a whole
number from 0 to `MOST_TOKENS`. Otherwise the usage is unknown, and the answer counts at its upper bound (`counting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from latentext.request import Usage

MOST_TOKENS = 100_000_000
"""Of one request: ten times the longest context that any model had in 2026."""


@dataclass(frozen=True, slots=True)
class Metered:
    """A usage that makes sense; `cache_write_tokens` of the prompt were written to a cache, which may cost more."""

    usage: Usage
    cache_write_tokens: int = 0


def read_usage(value: object) -> Metered | None:
    """The usage that an answer states, or None where it states none or one that cannot be.

    Example:
        >>> read_usage({"prompt_tokens": 5.0, "completion_tokens": 2}).usage
        Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=0)
        >>> read_usage({"prompt_tokens": 5.5, "completion_tokens": 2}) is None
        True
    """
    if not isinstance(value, Mapping):
        return None
    details = value.get("prompt_tokens_details")
    if details is not None and not isinstance(details, Mapping):
        return None
    prompt, completion = token_count(value.get("prompt_tokens")), token_count(value.get("completion_tokens"))
    cached, written = (_optional(details, name) for name in ("cached_tokens", "cache_write_tokens"))
    if prompt is None or completion is None or cached is None or written is None:
        return None
    # Every prompt has a token: 0 is what servers say that do not count.
    if prompt == 0 or cached + written > prompt:
        return None
    return Metered(Usage(prompt, completion, cached), written)


def token_count(value: object) -> int | None:
    """A whole number from 0 to `MOST_TOKENS`, also where it is written as 5.0; None for anything else.

    Example:
        >>> [token_count(value) for value in (5, 5.0, 5.5, -1, True, "5", 2**80, float("nan"))]
        [5, 5, None, None, None, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= MOST_TOKENS or int(value) != value:
        return None
    return int(value)


def _optional(details: Mapping[str, object] | None, name: str) -> int | None:
    value = None if details is None else details.get(name)
    return 0 if value is None else token_count(value)
