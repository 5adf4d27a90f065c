"""Draw texts from the weights: reproducibly, prompt by prompt, in any order and in any shard.

Each prompt has its own stream of uniform numbers, keyed by a hash of (seed, the prompt's key). A draw therefore
depends neither on the other prompts (shards give the same texts as one run) nor on how many draws are asked for (the
first of ten is the one draw).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from latentext.errors import SpecError
from latentext.studies.align.bank import Bank, Floats
from latentext.studies.align.weights import Weights


def draw(bank: Bank, weights: Weights, k: int = 1, *, replace: bool = True, seed: int = 0) -> NDArray[np.int64]:
    """Draw k samples for every prompt by its weights.

    With replacement: by inverse CDF, one uniform number a draw. Without: one after the other, each from what is left,
    as the order of log w + Gumbel noise gives it (Yellott 1977, Efraimidis and Spirakis 2006).

    Args:
        bank: gives the prompts' keys.
        weights: of that bank, normalised within prompts.
        k: draws a prompt.
        replace: whether a sample may come twice.
        seed: of the draws.

    Returns:
        Sample indices, int64 [prompts, k].

    Raises:
        SpecError: more draws than samples that have weight, without replacement; or pooled weights.

    Example:
        >>> from latentext.studies.align.weights import tilt
        >>> bank = Bank([[[0.0], [1.0], [2.0]]], names=("sentiment",))
        >>> draw(bank, tilt(bank, 100.0), 3).tolist()
        [[2, 2, 2]]
    """
    if weights.pooled:
        raise SpecError("pooled weights say how to choose prompts, not a sample for each", remedy="leave pooled out")
    if k < 1:
        raise SpecError(f"cannot draw {k} samples")
    available = int(np.isfinite(weights.log_weights).sum(axis=1).min())
    if not replace and k > available:
        raise SpecError(f"cannot draw {k} of {available} samples without replacement", remedy="draw fewer")
    if replace:
        return _with_replacement(weights.weights, _uniforms(bank.keys, k, seed))
    return _without_replacement(weights.log_weights, _uniforms(bank.keys, bank.samples, seed), k)


def _uniforms(keys: tuple[str, ...], number: int, seed: int) -> Floats:
    """Numbers in [0, 1) from each prompt's own stream: float64 [prompts, number]."""
    return np.stack([_stream(seed, key).random(number) for key in keys])


def _stream(seed: int, key: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def _with_replacement(weights: Floats, uniforms: Floats) -> NDArray[np.int64]:
    cumulative = weights.cumsum(axis=1)
    # The total is 1 only up to rounding: scaled, a uniform next to 1 never points past the last weight.
    thresholds = uniforms * cumulative[:, -1:]
    drawn = [np.searchsorted(row, points, side="right") for row, points in zip(cumulative, thresholds, strict=True)]
    chosen: NDArray[np.int64] = np.minimum(np.stack(drawn), weights.shape[1] - 1)
    return chosen


def _without_replacement(log_weights: Floats, uniforms: Floats, k: int) -> NDArray[np.int64]:
    # A uniform of exactly 0 would make the noise -inf and a heavy sample come last.
    noise = -np.log(-np.log(np.maximum(uniforms, np.finfo(np.float64).tiny)))
    order: NDArray[np.int64] = np.argsort(-(log_weights + noise), axis=1, kind="stable")
    return order[:, :k]
