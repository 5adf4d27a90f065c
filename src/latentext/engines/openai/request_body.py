"""Messages and decoding → the JSON body of a chat completion: the same for real time, batch files and proposals.

Only what the protocol of OpenAI itself knows is taken from a decoding; anything else (``top_k``, ``min_p``, which
servers of one's own understand) is given by name in ``model.api.request`` and passed through. A field set to null there
is left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from latentext.engines.openai.credentials import refuse_keys, server_address
from latentext.errors import SpecError
from latentext.request import Message
from latentext.spec import ApiOptions, Decoding, ModelSpec

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
OWN_FIELDS = ("model", "messages", "n", "stream")
"""Fields that the engine alone decides."""


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


def refuse_unsupported(model: ModelSpec, decoding: Decoding) -> None:
    """Refuse what this protocol cannot do, by name, before anything is sent or paid.

    Raises:
        SpecError: a decoding option, or a field of ``model.api.request`` that is not the user's to set.
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
    _refuse_own_fields(options.request)
    refuse_keys(options.request, "model.api.request")
    server_address(options.base_url)


def _refuse_own_fields(fields: Mapping[str, Any]) -> None:
    for name in OWN_FIELDS:
        if name in fields:
            where = {"model": "model.name", "n": "decoding.n"}.get(name)
            remedy = f"it is decided by {where}" if where else "leave it out"
            raise SpecError("cannot be set here", where=f"model.api.request.{name}", remedy=remedy)
