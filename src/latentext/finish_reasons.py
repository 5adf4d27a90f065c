"""How a text ended: one table for the words of every engine, and one rule for which texts are whole.

Servers speak one protocol and use the words of many. A record holds one of four: ``stop``, ``length``, ``unknown`` or
``given``. Only a text that is known to have ended by itself is whole. A missing or unknown word proves nothing, so
such a text is treated like one that was cut at the limit: it has no known length and gets no end token.

Sources: the API references of OpenAI, Anthropic, Google Gemini, Mistral, Cohere, Amazon Bedrock, Together and
DeepSeek, and the documentation of vLLM, SGLang, llama.cpp and Text Generation Inference.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

STOP, LENGTH, UNKNOWN, GIVEN = "stop", "length", "unknown", "given"
"""What a record says: the model ended the text, it was cut at a limit, nobody knows, or nothing was written."""

FAILED, FILTERED, REFUSED = "failed", "filtered", "refused"
"""Words that make a failure of an answer, with or without part of a text."""

_WORDS = {
    STOP: (
        "stop end eos eos_token eos_id end_of_text end_of_turn end_turn stop_sequence stop_string stop_token stop_word "
        "stop_str word complete completed finish finished reason_stop"
    ),
    LENGTH: (
        "length limit max_length max_tokens max_new_tokens max_output_tokens max_completion_tokens model_length "
        "token_limit context_length context_length_exceeded model_context_window_exceeded reason_max_len "
        "reason_max_context"
    ),
    GIVEN: "given",
    FAILED: (
        "error abort aborted cancel cancelled canceled user_cancel timeout failed insufficient_system_resource "
        "malformed_function_call unexpected_tool_call"
    ),
    FILTERED: (
        "content_filter content_filtered safety recitation blocklist prohibited_content spii guardrail_intervened "
        "error_toxic"
    ),
    REFUSED: "refusal refused",
}
_TABLE = {word: reason for reason, words in _WORDS.items() for word in words.split()}


def finish_reason(word: object) -> str:
    """What an engine's word for the end of a text means; upper case, spaces and hyphens make no difference.

    Tool calls are unknown: a text that goes on in a call is not whole.

    Example:
        >>> finish_reason("MAX_TOKENS"), finish_reason("eos"), finish_reason("abort"), finish_reason(None)
        ('length', 'stop', 'failed', 'unknown')
    """
    return _of_word(word) if isinstance(word, str) else UNKNOWN


def is_whole(word: str) -> bool:
    """Whether a text ended by itself. Datasets of 0.1.0 may hold a server's own word, so any word is understood.

    Example:
        >>> [is_whole(word) for word in ("stop", "end_turn", "given", "length", "MAX_TOKENS", "unknown", "")]
        [True, True, True, False, False, False, False]
    """
    return _of_word(word) in (STOP, GIVEN)


def are_whole(words: Iterable[str]) -> npt.NDArray[np.bool_]:
    """`is_whole` of each."""
    import numpy as np

    return np.fromiter((is_whole(word) for word in words), bool)


@lru_cache(256)
def _of_word(word: str) -> str:
    return _TABLE.get("_".join(word.replace("-", " ").casefold().split()), UNKNOWN)
