"""Pareto-smoothed weights: the largest weights of a prompt replaced by what a fitted tail says they should be.

A few huge weights make an importance-sampling estimate jump from bank to bank. Smoothing trades that variance for a
little bias: the M largest weights get the expected order statistics of a generalised Pareto distribution fitted to
them. The fitted shape k̂ is the diagnosis: under 0.5 the estimate is sound, above 0.7 no smoothing saves it.

Sources: Vehtari, Simpson, Gelman, Yao and Gabry 2024, "Pareto smoothed importance sampling" (the method, the tail
length min(N/5, 3√N), the limits of k̂ and its weak prior towards 0.5); Zhang and Stephens 2009 (the fit).
"""

from __future__ import annotations

import math

import numpy as np

from latentext.errors import SpecError
from latentext.studies.align.bank import Floats
from latentext.studies.align.weights import Weights, log_normalise

_SMALLEST_TAIL = 5


def pareto_smooth(weights: Weights) -> tuple[Weights, Floats]:
    """Smooth each prompt's weights.

    Returns:
        The smoothed weights, normalised, never above the largest weight given; and k̂, float64 [prompts]: infinite
        where the tail is too short or too even to fit (those weights stay as they are).

    Raises:
        SpecError: weights that are zero, as best-of-n gives them.

    Example:
        >>> scores = np.random.default_rng(0).exponential(0.4, size=(1, 100))
        >>> smoothed, shape = pareto_smooth(Weights(log_normalise(scores)))
        >>> smoothed.weights.shape, bool(shape[0] < 0.7)
        ((1, 100), True)
    """
    if not np.isfinite(weights.log_weights).all():
        raise SpecError("weights of zero cannot be smoothed", remedy="smooth the weights of a λ, not of best-of-n")
    rows = weights.log_weights.reshape(1, -1) if weights.pooled else weights.log_weights
    fitted = [_smooth_row(row) for row in rows]
    smoothed = np.stack([row for row, _ in fitted]).reshape(weights.log_weights.shape)
    shapes = np.array([shape for _, shape in fitted])
    return Weights(log_normalise(smoothed, pooled=weights.pooled), weights.pooled), shapes


def _smooth_row(log_weights: Floats) -> tuple[Floats, float]:
    samples = len(log_weights)
    tail_size = math.ceil(min(0.2 * samples, 3.0 * math.sqrt(samples)))
    if tail_size < _SMALLEST_TAIL or tail_size >= samples:
        return log_weights, math.inf
    scaled = log_weights - log_weights.max()
    order = np.argsort(scaled, kind="stable")
    tail, threshold = order[-tail_size:], scaled[order[-tail_size - 1]]
    exceedances = np.exp(scaled[tail]) - math.exp(threshold)
    if exceedances[0] <= 0 or exceedances[-1] - exceedances[0] <= np.finfo(np.float64).eps:
        return log_weights, math.inf
    shape, scale = _fit_generalised_pareto(exceedances)
    smoothed = scaled.copy()
    quantiles = (np.arange(tail_size) + 0.5) / tail_size
    expected = scale * np.expm1(-shape * np.log1p(-quantiles)) / shape
    smoothed[tail] = np.minimum(np.log(math.exp(threshold) + expected), 0.0)
    return smoothed, shape


def _fit_generalised_pareto(exceedances: Floats) -> tuple[float, float]:
    """Shape k and scale σ of sorted positive numbers: Zhang and Stephens' posterior mean, k drawn towards 0.5.

    Their parametrisation is θ = -k/σ; the profile likelihood of θ is averaged over a grid placed by the quartile.
    """
    number = len(exceedances)
    grid_size = 30 + int(math.sqrt(number))
    quartile = exceedances[int(number / 4 + 0.5) - 1]
    steps = np.arange(1, grid_size + 1)
    theta = 1.0 / exceedances[-1] + (1.0 - np.sqrt(grid_size / (steps - 0.5))) / (3.0 * quartile)
    shapes = np.log1p(-theta[:, None] * exceedances).mean(axis=1)
    log_likelihood = number * (np.log(-theta / shapes) - shapes - 1.0)
    posterior = np.exp(log_likelihood - log_likelihood.max())
    posterior /= posterior.sum()
    best_theta = float(posterior @ theta)
    shape = float(np.log1p(-best_theta * exceedances).mean())
    scale = -shape / best_theta
    prior_weight = 10.0
    return (number * shape + prior_weight * 0.5) / (number + prior_weight), scale
