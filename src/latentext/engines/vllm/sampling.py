"""Our decoding options as vLLM's sampling parameters, one text a request.

Every text has a seed of its own, hashed from the run's seed, the request and the sample, so that a text does not depend
on what it was batched with or on how many samples are asked for. (The draws are vLLM's own, so the texts of one seed
differ from those of the engine `transformers`.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from latentext.libraries import vllm as library
from latentext.spec import Decoding


def text_seed(seed: int, key: str, sample: int) -> int:
    """The seed of one text, 0 … 2^63 - 1, the same on every machine.

    Example:
        >>> text_seed(0, "a", 0) == text_seed(0, "a", 0) != text_seed(0, "a", 1)
        True
    """
    digest = hashlib.blake2b(f"{seed}\0{key}\0{sample}\0vllm".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def sampling_params(
    decoding: Decoding, seed: int, max_tokens: int, end_token_ids: Collection[int], *, extract: bool = False
) -> Any:
    """A ``vllm.SamplingParams`` for one text.

    End tokens are given as stop tokens and vLLM's own idea of them is switched off: they are then the same as with
    every engine, none may come before `min_new_tokens`, and the one that ends a text is kept among its ids. Stop
    strings are not passed on: the step loop looks for them, by the rules of `latentext.engines.stopping`.

    Args:
        max_tokens: room for this text.
        extract: the connector is to keep the hidden states of the generated tokens too.
    """
    sampled = decoding.temperature > 0.0
    return library.sampling_params(
        temperature=decoding.temperature,
        top_k=decoding.top_k or 0,
        top_p=decoding.top_p,
        min_p=decoding.min_p,
        repetition_penalty=decoding.repetition_penalty,
        presence_penalty=decoding.presence_penalty,
        frequency_penalty=decoding.frequency_penalty,
        seed=seed if sampled else None,
        ignore_eos=True,
        stop_token_ids=sorted(end_token_ids),
        min_tokens=min(decoding.min_new_tokens, max_tokens),
        max_tokens=max_tokens,
        logprobs=0 if decoding.logprobs else None,
        detokenize=False,
        stream=bool(decoding.stop),
        extra_args={"kv_transfer_params": {"include_output_tokens": True}} if extract else None,
    )
