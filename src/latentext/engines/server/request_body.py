"""Messages and decoding → the JSON body of a chat completion: the same for real time, batch files and proposals.

Only what the protocol of OpenAI itself knows is taken from a decoding; anything else (``top_k``, ``min_p``, which
servers of one's own understand) is given by name in ``model.api.request`` and passed through. A field set to null there
is left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from latentext.engines.server.bounds import OUTPUT_LIMITS, output_bound
from latentext.engines.server.credentials import refuse_keys, server_address
from latentext.engines.server.request_fields import WHERE, refuse_fields, refuse_uncovered
from latentext.errors import SpecError
from latentext.request import Message
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits

_UNSUPPORTED = (
    "top_k",
    "min_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "min_new_tokens",
    "logprobs",
    "entropy",
)
_REASONING = re.compile(r"^(o\d|gpt-[5-9])")
"""Models that take ``max_completion_tokens`` and refuse ``max_tokens``."""


def chat_body(
    model: ModelSpec, messages: Sequence[Message], decoding: Decoding, *, seed: int | None = None
) -> dict[str, Any]:
    """The body of one request for one text.

    Args:
        seed: for servers that draw by it; see `draw_seed`.

    Example:
        >>> spec = ModelSpec(name="gpt-4o", engine="openai")
        >>> chat_body(spec, [{"role": "user", "content": "Hi"}], Decoding(max_new_tokens=5))
        {'model': 'gpt-4o', 'messages': [{'role': 'user', 'content': 'Hi'}], 'max_tokens': 5, 'temperature': 0.0}
    """
    body: dict[str, Any] = {"model": model.name, "messages": [dict(message) for message in messages]}
    limit = "max_completion_tokens" if _REASONING.match(model.name) else "max_tokens"
    body[limit] = decoding.max_new_tokens
    body["temperature"] = decoding.temperature
    if decoding.top_p != 1.0:
        body["top_p"] = decoding.top_p
    if decoding.presence_penalty:
        body["presence_penalty"] = decoding.presence_penalty
    if decoding.frequency_penalty:
        body["frequency_penalty"] = decoding.frequency_penalty
    if decoding.stop:
        body["stop"] = list(decoding.stop)
    if seed is not None:
        body["seed"] = seed
    body.update((model.api or ApiOptions()).request)
    return {name: value for name, value in body.items() if value is not None}


def draw_seed(seed: int, key: str, sample: int) -> int:
    """The seed of one text: other texts, samples and runs have others. 31 bits, which every server takes.

    Example:
        >>> draw_seed(0, "a1", 0) == draw_seed(0, "a1", 0) != draw_seed(0, "a1", 1)
        True
    """
    digest = hashlib.sha256(f"latentext draw 1\n{seed}\n{key}\n{sample}\n".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def refuse_unsupported(model: ModelSpec, decoding: Decoding, limits: Limits | None = None) -> None:
    """Refuse what this protocol cannot do, by name, before anything is sent or paid.

    Args:
        limits: caps; a field whose price they cannot know is refused with them.

    Raises:
        SpecError: a decoding option, or a field of ``model.api.request`` that is not the user's to set or that no cap
            and no server can make sense of.
    """
    options = model.api or ApiOptions()
    for name in _UNSUPPORTED:
        if getattr(decoding, name) != Decoding.model_fields[name].default:
            remedy = "leave it out"
            if name not in ("logprobs", "entropy"):
                remedy += (
                    f"; if your server knows a field for it, name that in model.api.request, such as {{{name}: …}}"
                )
            what = f"engine {model.engine} does not have it: the protocol has no such field"
            raise SpecError(what, where=f"decoding.{name}", remedy=remedy)
    refuse_fields(options.request)
    refuse_keys(options.request, WHERE)
    if limits is not None:
        refuse_uncovered(options.request, limits)
    _refuse_unbounded(model, decoding)
    server_address(options.base_url)


def _refuse_unbounded(model: ModelSpec, decoding: Decoding) -> None:
    """Refuse a limit on the output that is none, before a plan is made of it."""
    body = chat_body(model, [{"role": "user", "content": ""}], decoding)
    try:
        output_bound(body)
    except SpecError as error:
        options = model.api or ApiOptions()
        if any(name in options.request for name in (*OUTPUT_LIMITS, "best_of")):
            raise
        raise SpecError(error.what, where="decoding.max_new_tokens", remedy=error.remedy) from None
