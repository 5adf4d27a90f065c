"""What goes into an engine and what comes out of it: the values that every other module passes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

Message = Mapping[str, str]
"""One turn of a chat: ``{"role": "user", "content": "Hello!"}``."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt of the plan, rendered and encoded.

    `index` is its place in the plan, from 0. `key` hashes all that decides its output (see `latentext.plan`).
    `temperature` is its own where the spec has several, else None.
    """

    index: int
    key: str
    variables: Mapping[str, Any]
    messages: Sequence[Message]
    prompt: str
    prompt_token_ids: Sequence[int]
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """How an expected text was checked (``decoding.expect``): `passes` of the model, of which `misses` found another
    token than the expected one, of which `ties` were within rounding of it; `decoded` tokens were written one by one.
    """

    passes: int
    misses: int
    ties: int
    decoded: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one text as the provider counted them; `cached_tokens` of the prompt were in its cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One text that a model wrote for a request.

    `token_ids` holds every generated token, the end token included. `text` is decoded without special tokens and cut
    at a stop string. `logprobs` and `entropies` (nats), where asked for, have one value a generated token. A text that
    a server wrote (`served`) has `usage` if the server counted its tokens, and no `token_ids` but those that a local
    tokenizer gives it. `finish_reason` is a word of `latentext.finish_reasons`.
    """

    index: int
    sample: int
    text: str
    token_ids: Sequence[int]
    finish_reason: str
    logprobs: Sequence[float] | None = None
    entropies: Sequence[float] | None = None
    verification: Verification | None = None
    usage: Usage | None = None
    served: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A request (or one sample of it) that gave no text, with the reason: recorded, never swallowed.

    `reason` is a short fixed word such as ``prompt-too-long``; `message` says more in one line.
    """

    index: int
    sample: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StateRows:
    """Hidden states of one text: row r of every tensor stands at `position[r]` of prompt + completion.

    `token_id` is the token that the state predicts, `remaining` the number of tokens still to come after it (-1 where
    unknown). `tensors` maps a site name (pooled: ``site:pool``) to a contiguous CPU tensor [rows, width].
    """

    index: int
    sample: int
    position: np.ndarray
    token_id: np.ndarray
    remaining: np.ndarray
    tensors: Mapping[str, torch.Tensor] = field(repr=False)
