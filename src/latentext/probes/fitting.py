"""Fitting one kind of probe to a source of states, all its sites together, and reading its predictions.

A ridge reads each state once: training and validation rows for the moments, test rows for the predictions. Networks
read their rows many times and hold one site in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from latentext.probes.division import TEST, TRAIN, VALIDATION
from latentext.probes.networks import Network, Training, train
from latentext.probes.ridge import Moments, Ridge, solve
from latentext.probes.rows import Numbers, ProbeRows, StatesSource, gather

Doubles = npt.NDArray[np.float64]
Kind = Literal["ridge", "linear", "mlp"]
"""ridge: closed form, for numbers. linear, mlp: networks, for lengths (at least 0) and for bins."""

HIDDEN = 512
"""Units in the hidden layer of an MLP probe."""


@dataclass(frozen=True)
class Fitted:
    """A probe of one site and what it predicts of the test rows [rows, columns]."""

    probe: Ridge | Network
    test: Doubles


def fit(
    kind: Kind, source: StatesSource, rows: ProbeRows, labels: Doubles, training: Training, bins: int = 0
) -> dict[str, Fitted]:
    """Fit a probe to every site of a source.

    Args:
        labels: [rows, columns]. A ridge predicts all columns; a network the first, which holds the numbers of bins
            for a classifier.
        bins: how many bins there are.
    """
    if kind == "ridge":
        return fit_ridge(source, rows, labels)
    training = replace(training, hidden=HIDDEN if kind == "mlp" else 0)
    return {site: _fit_network(source, site, rows, labels[:, 0], training, bins) for site in source.widths}


def fit_ridge(source: StatesSource, rows: ProbeRows, labels: Doubles) -> dict[str, Fitted]:
    """Closed-form probes of every site and every column of `labels` [rows, columns], in one pass over the states."""
    moments = {
        site: {part: Moments(width, labels.shape[1]) for part in (TRAIN, VALIDATION)}
        for site, width in source.widths.items()
    }
    for part in (TRAIN, VALIDATION):
        for block in source.blocks(rows.of(part)):
            for site, sums in moments.items():
                sums[part].add(block.read(site), labels[block.rows])
    probes = {site: solve(sums[TRAIN], sums[VALIDATION]) for site, sums in moments.items()}
    predicted = predict(source, probes, rows.of(TEST))
    return {site: Fitted(probe, predicted[site]) for site, probe in probes.items()}


def predict(source: StatesSource, probes: Mapping[str, Ridge | Network], numbers: Numbers) -> dict[str, Doubles]:
    """Predictions [n, columns] of each site's probe for ascending row numbers, in one pass over the states."""
    found: dict[str, Doubles] = {}
    for block in source.blocks(numbers):
        for site, probe in probes.items():
            predictions = probe.predict(block.read(site))
            target = found.setdefault(site, np.empty((len(numbers), predictions.shape[1])))
            target[np.searchsorted(numbers, block.rows)] = predictions
    return found


def _fit_network(
    source: StatesSource, site: str, rows: ProbeRows, labels: Doubles, training: Training, bins: int
) -> Fitted:
    fitted_on = some_texts(rows, rows.of(TRAIN), training.max_rows, training.seed)
    chosen_on = some_texts(rows, rows.of(VALIDATION), training.max_rows, training.seed)
    network = train(
        gather(source, site, fitted_on),
        labels[fitted_on],
        gather(source, site, chosen_on),
        labels[chosen_on],
        training,
        bins=bins,
    )
    return Fitted(network, predict(source, {site: network}, rows.of(TEST))[site])


def some_texts(rows: ProbeRows, numbers: Numbers, most: int, seed: int) -> Numbers:
    """The rows as they are, or those of texts drawn at random until `most` rows are reached."""
    if len(numbers) <= most:
        return numbers
    texts, which, counts = np.unique(rows.record[numbers], return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(texts))
    taken = np.zeros(len(texts), bool)
    taken[order[: max(1, int(np.searchsorted(np.cumsum(counts[order]), most, side="right")))]] = True
    return numbers[taken[which]]
