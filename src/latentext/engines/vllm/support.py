"""What vLLM can be asked for: decided from the spec alone, without importing it, so that a refusal costs nothing.

vLLM's options mean what ours mean, with few exceptions, and those are refused instead of approximated:

* Top-p is taken before min-p here (as in transformers) and after it in vLLM, so the two cannot stand together. Either
  with top-k gives the same tokens in any order.
* Temperatures below 0.01 would be raised to 0.01 without a word.
* Ties at the edge of top-k are all kept by vLLM; here the lower ids are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from latentext.errors import SpecError
from latentext.spec import Decoding, ModelSpec, StatesSpec
from latentext.states.sites import index_of, resolve_sites

INSTALL = "pip install 'latentext[vllm]'"
"""What a user with a GPU installs."""

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE, HIGHEST_PENALTY = 0.01, 2.0, 2.0
"""The limits of vLLM's own sampling parameters."""


def refuse_unsupported(model: ModelSpec, decoding: Decoding) -> None:
    """Refuse what vLLM cannot do, by name, before anything starts.

    Raises:
        SpecError: the first option that it cannot follow, or vLLM is not installed.
    """
    for name, reason in _unsupported(decoding):
        raise SpecError(reason, where=f"decoding.{name}", remedy="use engine: transformers", heading="vLLM")
    if find_spec("vllm") is None:
        raise SpecError("vLLM is not installed", where="model.engine", remedy=INSTALL, heading="vLLM")


def _unsupported(decoding: Decoding) -> Iterator[tuple[str, str]]:
    temperatures = _temperatures(decoding)
    if any(0.0 < t < LOWEST_TEMPERATURE or t > HIGHEST_TEMPERATURE for t in temperatures):
        yield "temperature", f"vLLM takes 0 and {LOWEST_TEMPERATURE} … {HIGHEST_TEMPERATURE}"
    if any(temperatures) and decoding.min_p and decoding.top_p < 1.0:
        yield "min_p", "vLLM takes min_p before top_p and not after it, which gives other texts"
    for name in ("presence_penalty", "frequency_penalty"):
        if abs(getattr(decoding, name)) > HIGHEST_PENALTY:
            yield name, f"vLLM takes {-HIGHEST_PENALTY} … {HIGHEST_PENALTY}"
    if decoding.no_repeat_ngram_size:
        yield "no_repeat_ngram_size", "vLLM has no such option"
    if decoding.entropy:
        yield "entropy", "vLLM gives no entropies"


def can_extract(model: ModelSpec, decoding: Decoding, states: StatesSpec, num_blocks: int) -> bool:
    """Whether vLLM itself gives these states while it writes; otherwise they are replayed.

    It reads what enters a block or leaves the last one, before the final norm. It does so by a form of speculative
    decoding, so only plain greedy texts are extracted: in vLLM 0.32 on a CPU, sampled ones repeat their first token.
    A text that ends at a stop string is not extracted either, for that end is found after the fact.

    Example:
        >>> model = ModelSpec(engine="vllm", vllm={"capture": "extract"})
        >>> [can_extract(model, Decoding(), StatesSpec(sites=s), 4) for s in (["resid_post.3"], ["final_norm"])]
        [True, False]
    """
    plain = not any(_temperatures(decoding)) and not decoding.stop and _without_penalties(decoding)
    readable = states.positions != "text" and "entropy_mean" not in states.pool
    served = all(layer_id(site, num_blocks) is not None for site in resolve_sites(states.sites, num_blocks))
    return model.vllm is not None and model.vllm.capture == "extract" and plain and readable and served


def spinning_threads(device: str) -> list[str]:
    """What to say where vLLM computes on a CPU with several threads that nothing keeps from spinning.

    Its CPU build brings an OpenMP beside torch's; while threads of the one wait actively, those of the other have no
    core. OpenMP reads its environment when torch is imported, so this can be said here and not be set.
    """
    import torch

    if device != "cpu" or torch.get_num_threads() == 1 or "OMP_WAIT_POLICY" in os.environ:
        return []
    return ["vLLM on a CPU is several times slower without OMP_WAIT_POLICY=PASSIVE in the environment"]


def _temperatures(decoding: Decoding) -> tuple[float, ...]:
    return decoding.temperatures or (decoding.temperature,)


def _without_penalties(decoding: Decoding) -> bool:
    return decoding.repetition_penalty == 1.0 and not decoding.presence_penalty and not decoding.frequency_penalty


def layer_id(site: str, num_blocks: int) -> int | None:
    """vLLM's number for a site: 0 is what enters the first block, k what leaves block k-1; None for ``final_norm``.

    Unlike Hugging Face's index, n is the output of the last block *before* the final norm.

    Example:
        >>> [layer_id(s, 4) for s in ("embed", "resid_post.0", "resid_post.3", "final_norm")]
        [0, 1, 4, None]
    """
    if site == "final_norm":
        return None
    index = index_of(site, num_blocks)
    return num_blocks if index is None else index
