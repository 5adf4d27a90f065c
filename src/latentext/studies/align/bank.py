"""The sample bank as numbers: the reward of every sample of every prompt, checked once.

A bank is made once (generate n samples a prompt, score them with every reward) and read many times: each new λ,
best-of-n or frontier is arithmetic on this array. So all that could spoil a result silently (NaN, infinity, a prompt
with fewer samples, two prompts under one key) is refused here, by name, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentext.errors import SpecError

Floats = NDArray[np.float64]

LARGEST = 1e100
"""Of rewards and target levels, in magnitude: squares and sums of larger ones would overflow."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Rewards of a fixed number of samples for each prompt.

    Attributes:
        rewards: float64 [prompts, samples, values], raw, finite and at most `LARGEST` in magnitude.
        names: the values' names, in the order of the last axis.
        keys: what identifies each prompt in draws and messages (a request's key); its number when left out.

    Raises:
        SpecError: wrong shape, an empty axis, names or keys that do not fit or repeat, or a reward that is not finite
            or too large.

    Example:
        >>> bank = Bank([[[0.0], [1.0]], [[2.0], [3.0]]], names=("sentiment",))
        >>> bank.prompts, bank.samples, bank.base_levels.tolist()
        (2, 2, [1.5])
    """

    rewards: Floats
    names: tuple[str, ...]
    keys: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        rewards = np.ascontiguousarray(self.rewards, dtype=np.float64)
        object.__setattr__(self, "rewards", rewards)
        object.__setattr__(self, "names", tuple(self.names))
        _check_shape(rewards, self.names)
        object.__setattr__(self, "keys", tuple(self.keys) or tuple(str(i) for i in range(len(rewards))))
        if len(self.keys) != len(rewards) or len(set(self.keys)) != len(rewards):
            raise SpecError(f"a bank of {len(rewards)} prompts needs as many different keys, not {len(set(self.keys))}")
        _check_finite(rewards, self.names, self.keys)

    @property
    def prompts(self) -> int:
        """Number of prompts."""
        return len(self.rewards)

    @property
    def samples(self) -> int:
        """Number of samples a prompt."""
        return int(self.rewards.shape[1])

    @property
    def base_levels(self) -> Floats:
        """Mean reward under the base model: float64 [values]."""
        return _means(self.rewards)

    @property
    def spreads(self) -> Floats:
        """Standard deviation of each reward over all samples of all prompts: float64 [values]."""
        # A constant's mean may be off by an ulp, which would give it a spread of 1e-17 instead of none.
        constant = np.ptp(self.rewards, axis=(0, 1)) == 0
        # Near the smallest numbers squares vanish. Powers of two change no digit.
        unit = power_of_two(np.abs(self.rewards).max(axis=(0, 1)))
        return np.where(constant, 0.0, (self.rewards / unit).std(axis=(0, 1)) * unit)

    def index_of(self, name: str) -> int:
        """Place of a value on the last axis; an unknown name is a SpecError that lists the known ones."""
        if name not in self.names:
            raise SpecError(f"the bank has no reward {name!r}", remedy=f"it has {', '.join(self.names)}")
        return self.names.index(name)

    def select(self, names: Sequence[str]) -> Bank:
        """The same bank with these values only, in this order."""
        columns = [self.index_of(name) for name in names]
        return Bank(self.rewards[:, :, columns], tuple(names), self.keys)

    def take(self, prompts: ArrayLike) -> Bank:
        """The same bank with these prompts only (int [n], no repeats)."""
        chosen = np.asarray(prompts, dtype=np.int64)
        return Bank(self.rewards[chosen], self.names, tuple(self.keys[i] for i in chosen))

    def first_samples(self, samples: int) -> Bank:
        """The same bank with the first `samples` samples of each prompt: what a smaller bank would have been."""
        if not 1 <= samples <= self.samples:
            raise SpecError(f"cannot take {samples} samples a prompt", remedy=f"the bank has {self.samples}")
        return Bank(self.rewards[:, :samples], self.names, self.keys)

    def standardised(self) -> Bank:
        """The bank with every reward less its base level, in its standard deviations; a constant reward becomes 0."""
        scale = np.where(self.spreads > 0, self.spreads, 1.0)
        return Bank((self.rewards - self.base_levels) / scale, self.names, self.keys)

    def pooled(self) -> Bank:
        """All samples of all prompts as if they answered one prompt (docs/align.md says when not to)."""
        return Bank(self.rewards.reshape(1, -1, len(self.names)), self.names, ("pooled",))


def power_of_two(numbers: Floats) -> Floats:
    """The largest power of two that each number, at least 0, is not below; 1 for 0.

    Example:
        >>> power_of_two(np.array([0.0, 5.0, 1e-320])).tolist()[:2]
        [1.0, 4.0]
    """
    mantissas, exponents = np.frexp(numbers)
    return np.where(mantissas > 0, np.ldexp(1.0, exponents - 1), 1.0)


def bank_of_rows(
    prompt: ArrayLike, sample: ArrayLike, scores: Mapping[str, ArrayLike], keys: Mapping[int, str] | None = None
) -> tuple[Bank, tuple[int, ...]]:
    """Make a bank from a table of one row a sample, as a dataset directory holds it, in any row order.

    Args:
        prompt: int [rows], the prompt's index in the plan.
        sample: int [rows], the sample's index.
        scores: one float [rows] array a reward.
        keys: the request key of each prompt index.

    Returns:
        The bank, its prompts in order of index, and the indices of the prompts that lack a sample which others have:
        those are left out, since weights over N and over fewer samples are not of one kind.

    Raises:
        SpecError: the same sample of a prompt stands twice, or no prompt is complete.
    """
    prompt_column, sample_column = np.asarray(prompt, dtype=np.int64), np.asarray(sample, dtype=np.int64)
    order = np.lexsort((sample_column, prompt_column))
    prompt_column, sample_column = prompt_column[order], sample_column[order]
    twice = (np.diff(prompt_column) == 0) & (np.diff(sample_column) == 0)
    if twice.any():
        row = int(twice.argmax())
        raise SpecError(f"prompt {prompt_column[row]} has two rows for its sample {sample_column[row]}")
    indices, counts = np.unique(prompt_column, return_counts=True)
    samples = len(np.unique(sample_column))
    complete, incomplete = indices[counts == samples], indices[counts < samples]
    if not len(complete):
        raise SpecError("no prompt has all its samples scored", remedy="finish the run, then score again")
    rows = order[np.isin(prompt_column, complete)]
    columns = [np.asarray(values, dtype=np.float64)[rows].reshape(-1, samples) for values in scores.values()]
    if not columns:
        raise SpecError("a bank needs at least one reward")
    names = tuple(keys[int(i)] if keys else str(i) for i in complete)
    return Bank(np.stack(columns, axis=-1), tuple(scores), names), tuple(int(i) for i in incomplete)


def _means(rewards: Floats) -> Floats:
    means: Floats = rewards.mean(axis=(0, 1))
    return means


def _check_shape(rewards: Floats, names: tuple[str, ...]) -> None:
    if rewards.ndim != 3 or 0 in rewards.shape:
        raise SpecError(f"rewards must be [prompts, samples, values] and not empty, not of shape {rewards.shape}")
    if len(names) != rewards.shape[2] or len(set(names)) != len(names):
        raise SpecError(f"{rewards.shape[2]} rewards need as many different names, not {list(names)}")


def _check_finite(rewards: Floats, names: tuple[str, ...], keys: tuple[str, ...]) -> None:
    bad = np.argwhere(~np.isfinite(rewards) | (np.abs(rewards) > LARGEST))
    if not len(bad):
        return
    prompt, sample, value = (int(i) for i in bad[0])
    key = "" if keys[prompt] == str(prompt) else f" ({keys[prompt]})"
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    finite = np.isfinite(rewards[prompt, sample, value])
    raise SpecError(
        f"reward {names[value]!r} of prompt {prompt}{key}, sample {sample} is {rewards[prompt, sample, value]}{more}",
        remedy=f"at most {LARGEST:g} can be weighed: divide the reward by a constant"
        if finite
        else "score these texts again, or leave the prompt or the reward out",
    )
