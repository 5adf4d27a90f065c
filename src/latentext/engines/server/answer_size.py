"""How large an answer may be: a bound that follows from the tokens that were asked for, and hard ones for all else.

A server, or something in between, may send without end, or a megabyte that unpacks to gigabytes. Answers are therefore
read piece by piece, unpacked, and given up at the limit; the message names it. The bounds are far above honest answers:
the longest tokens of today's tokenizers have 128 to 256 bytes, and JSON spells a byte in six characters at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_ANSWER_BYTES = 64 << 20
"""Of one answer, however many tokens it may have; also of a list of batches, and of one line of a batch's output."""

MOST_ERROR_BYTES = 64 << 10
"""Of the answer to a request that failed; what follows is not read."""

MOST_FILE_BYTES = 2 << 30
"""Of the output file of one batch, unpacked. 50,000 answers, the most that a batch holds, then have 42 kB each."""

_OF_ANY_ANSWER = 1 << 20
_OF_A_TOKEN = 1 << 10
_MOST_ALTERNATIVES = 20


class TooLargeError(Exception):
    """More came than an answer may have."""

    def __init__(self, most: int, reason: str = ""):
        self.most = most
        super().__init__(f"the answer is larger than {most / 2**20:,.1f} MiB, the limit{reason}")


def most_bytes(body: Mapping[str, Any]) -> int:
    """Bytes that the answer to a request body may have.

    Example:
        >>> most_bytes({"max_tokens": 512}) / 2**20
        1.5
        >>> most_bytes({}) == most_bytes({"max_tokens": 10**9}) == MOST_ANSWER_BYTES
        True
    """
    tokens = max_tokens(body)
    if tokens is None:
        return MOST_ANSWER_BYTES
    alternatives = body.get("top_logprobs")
    alternatives = alternatives if isinstance(alternatives, int) else _MOST_ALTERNATIVES
    each = _OF_A_TOKEN * (2 + max(0, alternatives) if body.get("logprobs") else 1)
    return min(MOST_ANSWER_BYTES, _OF_ANY_ANSWER + each * tokens)


def max_tokens(body: Mapping[str, Any]) -> int | None:
    """The limit on tokens that a request body sets; None where it sets none that is one."""
    limits = [body.get(name) for name in ("max_completion_tokens", "max_tokens")]
    return max((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)


def too_large(body: Mapping[str, Any]) -> TooLargeError:
    """What to say of an answer to a body that is beyond its `most_bytes`."""
    tokens, most = max_tokens(body), most_bytes(body)
    for_tokens = tokens is not None and most < MOST_ANSWER_BYTES
    return TooLargeError(most, f" for {tokens:,} tokens" if for_tokens else " for one answer")
