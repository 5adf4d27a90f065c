r"""Weights that turn samples of the base model into samples shifted towards a reward.

For prompt x with samples y_1 … y_N from p(y|x), the target p_λ(y|x) ∝ p(y|x) · exp(λ·r(x, y)) is approached by
resampling the y_j with weights w_j ∝ exp(λ·r_j): self-normalised importance sampling whose ratio is known up to the
constant that cancels. All of it happens in logarithms, so λ·r = 10,000 is as exact as λ·r = 1.

The *pooled* form puts one softmax over all samples of all prompts. It is what some published numbers use; it moves
weight between prompts, which a decoder that answers every prompt cannot do (see docs/align.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from latentext.errors import SpecError
from latentext.studies.align.bank import Bank, Floats


@dataclass(frozen=True, eq=False)
class Weights:
    """Normalised weights of a bank's samples.

    Attributes:
        log_weights: float64 [prompts, samples]; natural logarithms. Over each prompt's samples the weights sum to 1
            (over all samples of all prompts when `pooled`).
        pooled: whether one normalisation runs over all prompts.
    """

    log_weights: Floats
    pooled: bool = False

    @property
    def weights(self) -> Floats:
        """float64 [prompts, samples]."""
        return np.exp(self.log_weights)

    @property
    def effective_sample_size(self) -> Floats:
        """1 / Σ w² (Kish 1965), from 1 (one sample takes all) to N (all alike): float64 [prompts], or [1] pooled."""
        with np.errstate(over="ignore"):  # Twice the logarithm of nearly nothing.
            return np.exp(-log_sum_exp(2.0 * self._distributions))

    @property
    def divergence(self) -> Floats:
        """Σ w log(N w) in nats, from 0 to log N: float64 [prompts], or [1] pooled.

        It is the divergence of the weights from uniform over the samples. It estimates KL(p_λ‖p) only while that is
        well below log N, which it can never exceed.
        """
        log_weights = self._distributions
        weights = np.exp(log_weights)
        # 0 · log 0 is 0: a sample that best-of-n never keeps adds nothing.
        terms = weights * np.where(weights > 0, log_weights, 0.0)
        entropy_deficit: Floats = np.log(log_weights.shape[1]) + terms.sum(axis=1)
        return np.maximum(entropy_deficit, 0.0)

    @property
    def largest(self) -> Floats:
        """The largest weight: float64 [prompts], or [1] pooled."""
        largest: Floats = np.exp(self._distributions.max(axis=1))
        return largest

    @property
    def _distributions(self) -> Floats:
        return self.log_weights.reshape(1, -1) if self.pooled else self.log_weights


def tilt(bank: Bank, lam: ArrayLike, *, pooled: bool = False) -> Weights:
    """Weights ∝ exp(λ·r) for every prompt of a bank.

    Args:
        lam: λ, one number a value of the bank, of either sign; a single number for a bank of one value.
        pooled: normalise over all prompts together instead of within each.

    Raises:
        SpecError: λ of the wrong length or not finite, or a single sample a prompt, which no λ can weigh.

    Example:
        >>> bank = Bank([[[0.0], [1.0]]], names=("sentiment",))
        >>> tilt(bank, 0.0).weights.tolist()
        [[0.5, 0.5]]
        >>> tilt(bank, [1e4]).weights.tolist()
        [[0.0, 1.0]]
    """
    coefficients = checked_lambda(bank, lam)
    if bank.samples == 1 and not pooled:
        raise SpecError("one sample a prompt leaves λ nothing to choose from", remedy="add samples to the bank")
    return Weights(log_normalise(scores(bank, coefficients), pooled=pooled), pooled)


def checked_lambda(bank: Bank, lam: ArrayLike) -> Floats:
    """λ as float64 [values], or a SpecError that says what is wrong with it."""
    coefficients = np.atleast_1d(np.asarray(lam, dtype=np.float64))
    if coefficients.shape != (len(bank.names),):
        raise SpecError(f"{coefficients.size} numbers in λ for {len(bank.names)} values ({', '.join(bank.names)})")
    if not np.isfinite(coefficients).all():
        raise SpecError(f"λ is not finite: {coefficients.tolist()}", remedy="for the limit of large λ use best-of-n")
    return coefficients


def scores(bank: Bank, lam: Floats) -> Floats:
    """λ·r of every sample, up to a constant: float64 [prompts, samples].

    Differences from the bank's first sample are formed before they are multiplied, so a large constant in a reward
    costs no digits.

    Raises:
        SpecError: λ·r is larger than a number can be.
    """
    differences = bank.rewards - bank.rewards[0, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        tilted: Floats = differences @ lam
    if not np.isfinite(tilted).all():
        values = ", ".join(f"{name}={value:g}" for name, value in zip(bank.names, lam, strict=True) if value)
        raise SpecError(f"λ {values} is too large: λ times the rewards overflows", remedy="give a smaller λ")
    return tilted


def log_normalise(scores: Floats, *, pooled: bool = False) -> Floats:
    """Subtract from each row (from all, when pooled) its log Σ exp, so that exp of the result sums to 1."""
    rows = scores.reshape(1, -1) if pooled else scores
    with np.errstate(over="ignore"):
        # The largest goes first: beside λ·r = 1e20 the logarithm of a number of samples would be lost.
        # The smallest number stands for what lies below it: the weight is 0 either way.
        shifted = np.maximum(rows - rows.max(axis=1, keepdims=True), -np.finfo(np.float64).max)
    normalised: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised.reshape(scores.shape)


def log_sum_exp(scores: Floats) -> Floats:
    """Log Σ_j exp(scores_j) of each row: float64 [rows]. Nothing overflows: the row's largest is taken out first."""
    largest = scores.max(axis=1)
    with np.errstate(over="ignore"):
        return np.asarray(largest + np.log(np.exp(scores - largest[:, None]).sum(axis=1)))
