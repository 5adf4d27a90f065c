"""What a probe must beat: predictions from what anyone knows without looking at a state.

Each baseline is a small table of features in the place of the states, and the same kind of probe is fitted to it, so a
difference is due to the information alone. A linear probe of one number is a straight line, which would be a straw
man: every number x also comes as x² and log(1 + x).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentext.probes.rows import Feature, Features, ProbeRows, RowValues

Doubles = npt.NDArray[np.float64]

MEAN = "mean"
STEP = "step"
STEP_AND_PROMPT = "step + prompt length"
COUNT_MINUS_STEP = "count - step"
SHUFFLED = "shuffled labels"
UNTRAINED = "untrained twin"


def features(rows: ProbeRows) -> tuple[Features, dict[str, str]]:
    """The baselines that these rows allow, and for each that they do not, why."""
    tables = {STEP: Feature(3, _step), STEP_AND_PROMPT: Feature(7, _step_and_prompt)}
    if rows.asked is None:
        return Features(tables), {COUNT_MINUS_STEP: "the prompts ask for no count"}
    return Features(tables | {COUNT_MINUS_STEP: Feature(7, _count_minus_step)}), {}


def shuffled(rows: ProbeRows, numbers: range) -> Doubles:
    """The labels of some rows after all rows were dealt each other's at random: what predicts these is an error."""
    return rows.at(permuted(np.array(numbers, np.int64), len(rows))).target


def _step(rows: RowValues) -> Doubles:
    return _expanded(rows.step.astype(np.float64))


def _step_and_prompt(rows: RowValues) -> Doubles:
    step, prompt_length = rows.step.astype(np.float64), rows.prompt_length.astype(np.float64)
    return np.column_stack([_expanded(step), _expanded(prompt_length), step * prompt_length])


def _count_minus_step(rows: RowValues) -> Doubles:
    assert rows.asked is not None
    step, asked = rows.step.astype(np.float64), rows.asked.astype(np.float64)
    left = asked - step
    # Step and count also stand alone: where a word is two tokens, what is left is twice the count less the step.
    return np.column_stack([left, _expanded(np.maximum(left, 0.0)), asked, step, left == 0])


def _expanded(values: Doubles) -> Doubles:
    """[n, 3]: x, x² and log(1 + x) of numbers that are at least 0."""
    return np.column_stack([values, np.square(values), np.log1p(values)])


# A random order that is computed and not kept: where each number goes, whatever their number.
#
# A Feistel network of keyed mixing functions is a permutation of all numbers of 2 · b bits (Luby and Rackoff 1988).
# It is applied again to those that land beyond the last number until they come back among them ("cycle walking",
# Black and Rogaway 2002), which keeps it a permutation.

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
