"""What one batch may hold, and how a file's size is counted in tokens.

Published by OpenAI (API reference of ``POST /v1/batches``, as the openai package 3.52 of 2026 quotes it): 50,000
requests and 200 MB a file. A third limit, the prompt tokens that may wait at one time for one model, depends on the
account (90,000 for gpt-4o in the lowest paid tier, in the first years of the service) and is shown on the account's
limits page only; so it is an option here, and a batch that was refused for it is sent again when another one ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
_BYTES_PER_TOKEN = 3
"""English takes about four bytes a token, other languages fewer; three keeps a queue on the safe side of its limit."""


@dataclass(frozen=True)
class BatchLimits:
    """Bounds on one request file.

    Attributes:
        requests: most requests in one file.
        size: most bytes in one file.
        enqueued_tokens: most prompt tokens (estimated) in one file, and in all batches that wait; None: unknown.

    Example:
        >>> BatchLimits(requests=50).allows(requests=50, size=40_000, tokens=9_000)
        True
        >>> BatchLimits(requests=50).allows(requests=51, size=40_000, tokens=9_000)
        False
    """

    requests: int = MOST_REQUESTS
    size: int = MOST_BYTES
    enqueued_tokens: int | None = None

    def allows(self, *, requests: int, size: int, tokens: int) -> bool:
        """Whether a file of this many requests, bytes and prompt tokens keeps to all limits."""
        fits = requests <= min(self.requests, MOST_REQUESTS) and size <= min(self.size, MOST_BYTES)
        return fits and (self.enqueued_tokens is None or tokens <= self.enqueued_tokens)


def estimated_prompt_tokens(body: Mapping[str, Any]) -> int:
    """About how many tokens the messages of a request are, from their bytes; at least one.

    Example:
        >>> estimated_prompt_tokens({"messages": [{"role": "user", "content": "Hello world!"}]})
        4
    """
    contents = (message.get("content") for message in body.get("messages", ()))
    size = sum(len(str(content).encode("utf-8", "replace")) for content in contents if content)
    return max(1, -(-size // _BYTES_PER_TOKEN))
