"""A random order that is computed and not kept: where each number goes, whatever their number.

A Feistel network of keyed mixing functions is a permutation of all numbers of 2 · b bits (Luby and Rackoff 1988). It is
applied again to those that land beyond the last number until they come back among them ("cycle walking", Black and
Rogaway 2002), which keeps it a permutation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]

_ROUNDS = 6


def permuted(numbers: Numbers, count: int, seed: int = 0) -> Numbers:
    """Where numbers from 0 to ``count - 1`` go under the permutation of all of them that a seed stands for.

    Example:
        >>> moved = permuted(np.arange(1000), 1000)
        >>> sorted(moved.tolist()) == list(range(1000)), bool((moved == np.arange(1000)).mean() < 0.01)
        (True, True)
    """
    bits = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(bits)) - 1)
    keys = np.random.default_rng(seed).integers(0, 2**63, _ROUNDS, np.uint64)
    found = numbers.astype(np.uint64)
    outside = np.arange(len(found))
    while len(outside):
        left, right = found[outside] >> bits, found[outside] & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right + key) & mask)
        found[outside] = (left << bits) | right
        outside = outside[found[outside] >= count]
    return found.astype(np.int64)


def _mixed(words: _Words) -> _Words:
    """All bits of the input in every bit of the output: the finaliser of SplitMix64 (Steele et al. 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
