"""Seeded sampling: the token drawn depends on the request, the sample, the step and the probabilities – on nothing
else.

A token is drawn by inverse CDF from one uniform number that is hashed from (seed, request key, sample, step). So a
draw does not depend on the batch a request sits in, on its place there, or on how many samples are asked for: 32
samples, then 32 more, equal 64 at once.

Filters follow the order and the meaning of transformers' logits warpers (temperature, top-k, top-p, min-p; each acts
on the distribution that the one before left); ties at the edge of top-k and top-p go to the lower token id, which
transformers leaves open.
"""

from __future__ import annotations

import hashlib

import torch

from latentext.spec import Decoding


def uniform(seed: int, key: str, sample: int, step: int) -> float:
    """A number in [0, 1) with 53 random bits, the same on every machine.

    Example:
        >>> uniform(0, "a", 0, 0) == uniform(0, "a", 0, 0)
        True
    """
    digest = hashlib.blake2b(f"{seed}\0{key}\0{sample}\0{step}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


def sample(logits: torch.Tensor, decoding: Decoding, uniforms: torch.Tensor) -> torch.Tensor:
    """The token drawn for each row: int64 [batch]; `temperature` > 0.

    With top-k only the k tokens that it leaves are looked at again, in token-id order, so that float64 is spent on
    them and not on the whole vocabulary.

    Args:
        logits: [batch, vocabulary].
        uniforms: float64 [batch], each in [0, 1).
    """
    candidates = _top_candidates(logits, decoding.top_k)
    if candidates is None:
        return draw(filtered_probabilities(logits, decoding), uniforms)
    places = draw(filtered_probabilities(logits.gather(-1, candidates), decoding), uniforms)
    return candidates.gather(-1, places.unsqueeze(-1)).squeeze(-1)


def filtered_probabilities(logits: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Probabilities [batch, vocabulary] in float64 after temperature, top-k, top-p and min-p; `temperature` > 0."""
    scores = logits.double() / decoding.temperature
    if decoding.top_k is not None and decoding.top_k < scores.shape[-1]:
        scores = scores.masked_fill(~_top_k_mask(scores, decoding.top_k), -torch.inf)
    if decoding.top_p < 1.0:
        scores = scores.masked_fill(~_top_p_mask(scores, decoding.top_p), -torch.inf)
    probabilities = scores.softmax(-1)
    if decoding.min_p > 0.0:
        floor = decoding.min_p * probabilities.amax(-1, keepdim=True)
        probabilities = probabilities.masked_fill(probabilities < floor, 0.0)
        probabilities /= probabilities.sum(-1, keepdim=True)
    return probabilities


def draw(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The first token id whose cumulative probability exceeds the uniform number.

    Args:
        probabilities: float64 [batch, vocabulary].
        uniforms: float64 [batch], each in [0, 1).

    Returns:
        int64 [batch].
    """
    cumulative = probabilities.cumsum(-1)
    # The total is 1 only up to rounding, so the uniform is scaled to it. The product stays below the total even for the
    # largest uniform, 1 - 2^-53: it takes off at least half a unit in the last place, and the tie is exact.
    threshold = uniforms.unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)


def _top_candidates(logits: torch.Tensor, k: int | None) -> torch.Tensor | None:
    """The ids [batch, k] of the k largest logits in rising order; None where there is no edge, or a tie at it."""
    if k is None or k >= logits.shape[-1]:
        return None
    values, ids = logits.topk(k + 1, dim=-1)
    if bool((values[:, k - 1] == values[:, k]).any()):
        return None
    return ids[:, :k].sort(-1).values


def _top_k_mask(scores: torch.Tensor, k: int) -> torch.Tensor:
    kth = scores.topk(k, dim=-1).values[:, -1:]
    above = scores > kth
    equal = scores == kth
    room = k - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room))


def _top_p_mask(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    ordered, ids = scores.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    # A token stays while the mass *before* it is below top_p, so the most probable token always stays.
    keep = (probabilities.cumsum(-1) - probabilities) < top_p
    return torch.zeros_like(keep).scatter_(-1, ids, keep)
