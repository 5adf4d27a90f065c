"""What identifies a request, and a short digest of its prompt to count and compare prompts by.

A key hashes what decides a request's output and nothing else: sites, rewards, the number of samples, dtype and device
can change without changing a key, so finished work stays finished and the same draws are made on every machine.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from latentext.request import Message
from latentext.spec import Decoding

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_KEY_VERSION = 1
_NOT_IN_KEYS = {"n", "logprobs", "entropy", "expect", "temperatures"}
NO_PROMPT = 0
"""The digest of a request that failed before it had a prompt."""


def request_key(
    prompt: Sequence[int] | Sequence[Message], model_id: str, decoding: Decoding | str, occurrence: int
) -> str:
    """The first 32 hex digits of the sha256 of what decides a request's output.

    Args:
        prompt: the prompt's token ids, or its messages where the engine is remote and there is no tokenizer.
        model_id: see `latentext.models.model_identity`.
        decoding: the options, or what `decoding_identity` made of them.
        occurrence: the how-manyth request with this prompt it is, from 0, so that equal prompts get different draws.

    Example:
        >>> request_key([1, 2, 3], "tiny", Decoding(), 0) == request_key([1, 2, 3], "tiny", Decoding(n=8), 0)
        True
        >>> request_key([1, 2, 3], "tiny", Decoding(), 0) == request_key([1, 2, 3], "tiny", Decoding(), 1)
        False
    """
    identity = {
        "version": _KEY_VERSION,
        "prompt": _prompt_identity(prompt),
        "model": model_id,
        "decoding": decoding if isinstance(decoding, str) else decoding_identity(decoding),
        "occurrence": occurrence,
    }
    return hashlib.sha256(canonical_json(identity)).hexdigest()[:32]


def decoding_identity(decoding: Decoding) -> str:
    """The options that decide a text, as canonical JSON; of several temperatures a request has one (`Decoding.at`)."""
    return canonical_json(decoding.model_dump(mode="json", exclude=_NOT_IN_KEYS)).decode()


def prompt_digest(prompt: Sequence[int] | Sequence[Message], temperature: float | None = None) -> int:
    """The first 8 bytes of the sha256 of a prompt, as a number above `NO_PROMPT`.

    A prompt that is asked at several temperatures is another one at each.

    Two prompts that share a digest by chance are counted as equal. Their keys differ all the same, since a key hashes
    the prompt itself.
    """
    if prompt and isinstance(prompt[0], Mapping):
        data = canonical_json(_prompt_identity(prompt))
    else:  # Made for every request of a plan: packing is ten times as fast as JSON.
        data = struct.pack(f"<{len(prompt)}I", *prompt)
    if temperature is not None:
        data += struct.pack("<d", temperature)
    digest = hashlib.sha256(data).digest()
    return int.from_bytes(digest[:8], "little") or NO_PROMPT + 1


def row_digest(variables: Mapping[str, Any], messages: Sequence[Message]) -> int:
    """The first 8 bytes of the sha256 of what is stored with a request's texts, as a number above `NO_PROMPT`.

    The columns of a row that its prompt does not name decide no text, but every reader takes them for that row's.
    """
    digest = hashlib.sha256(canonical_json([variables, [dict(message) for message in messages]])).digest()
    return int.from_bytes(digest[:8], "little") or NO_PROMPT + 1


def canonical_json(value: Any) -> bytes:
    """JSON in exactly one form: sorted names, no spaces, UTF-8."""
    return _CANONICAL.encode(value).encode("utf-8", "surrogatepass")


def _prompt_identity(prompt: Sequence[int] | Sequence[Message]) -> list[int] | list[dict[str, str]]:
    return [dict(part) if isinstance(part, Mapping) else int(part) for part in prompt]  # type: ignore[return-value]
