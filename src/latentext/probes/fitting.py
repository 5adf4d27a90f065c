"""Fitting one kind of probe to a source of states, all its sites together, and reading its predictions.

A ridge reads each state once: training and validation rows for the moments, test rows for the predictions, which go to
the disk. Networks read their rows many times and hold one site in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from latentext.phases import phase
from latentext.probes.division import PART_NAMES, TEST, TRAIN, VALIDATION
from latentext.probes.networks import Network, Training, train
from latentext.probes.on_disk import DiskRows
from latentext.probes.ridge import Moments, Ridge, solve
from latentext.probes.rows import ProbeRows, StatesSource, gather

Doubles = npt.NDArray[np.float64]
Kind = Literal["ridge", "linear", "mlp"]
"""ridge: closed form, for numbers. linear, mlp: networks, for lengths (at least 0) and for bins."""

Labels = Callable[[ProbeRows, range], Doubles]
"""[n, columns], what probes are fitted to at some rows of these."""

HIDDEN = 512
"""Units in the hidden layer of an MLP probe."""


@dataclass(frozen=True)
class Fitted:
    """A probe of one site and what it predicts of the test rows [rows, columns]."""

    probe: Ridge | Network
    test: DiskRows


def fit(
    kind: Kind, source: StatesSource, rows: ProbeRows, labels: Labels, training: Training, bins: int = 0
) -> dict[str, Fitted]:
    """Fit a probe to every site of a source.

    Args:
        labels: a ridge predicts all their columns; a network the first, which holds the numbers of bins for a
            classifier.
        bins: how many bins there are.
    """
    if kind == "ridge":
        return fit_ridge(source, rows, labels)
    training = replace(training, hidden=HIDDEN if kind == "mlp" else 0)
    return {site: _fit_network(source, site, rows, labels, training, bins) for site in source.widths}


def fit_ridge(source: StatesSource, rows: ProbeRows, labels: Labels) -> dict[str, Fitted]:
    """Closed-form probes of every site and every column of `labels`, in one pass over the states."""
    columns = labels(rows, range(0)).shape[1]
    moments = {
        site: {part: Moments(width, columns) for part in (TRAIN, VALIDATION)} for site, width in source.widths.items()
    }
    for part in (TRAIN, VALIDATION):
        chosen = rows.of(part)
        with phase(f"reading rows for {PART_NAMES[part]}", len(chosen)) as reading:
            for block in source.blocks(chosen):
                targets = labels(chosen, block.rows)
                for site, sums in moments.items():
                    sums[part].add(block.read(site), targets)
                reading.moved(len(block.rows))
    probes = {site: solve(sums[TRAIN], sums[VALIDATION]) for site, sums in moments.items()}
    predicted = predict(source, probes, rows.of(TEST))
    return {site: Fitted(probe, predicted[site]) for site, probe in probes.items()}


def predict(source: StatesSource, probes: Mapping[str, Ridge | Network], rows: ProbeRows) -> dict[str, DiskRows]:
    """Predictions [rows, columns] of each site's probe, in one pass over the states."""
    found: dict[str, DiskRows] = {}
    with phase("predicting rows", len(rows)) as predicting:
        for block in source.blocks(rows):
            for site, probe in probes.items():
                predictions = probe.predict(block.read(site))
                found.setdefault(site, DiskRows(predictions.shape[1])).append(predictions)
            predicting.moved(len(block.rows))
    return found


def _fit_network(
    source: StatesSource, site: str, rows: ProbeRows, labels: Labels, training: Training, bins: int
) -> Fitted:
    fitted_on, chosen_on = (some_texts(rows.of(part), training.max_rows, training.seed) for part in (TRAIN, VALIDATION))
    with phase(f"training a probe of {site}"):
        network = train(
            gather(source, site, fitted_on),
            labels(fitted_on, range(len(fitted_on)))[:, 0],
            gather(source, site, chosen_on),
            labels(chosen_on, range(len(chosen_on)))[:, 0],
            training,
            bins=bins,
        )
    return Fitted(network, predict(source, {site: network}, rows.of(TEST))[site])


def some_texts(rows: ProbeRows, most: int, seed: int) -> ProbeRows:
    """The rows as they are, or those of texts drawn at random until `most` rows are reached."""
    if len(rows) <= most:
        return rows
    order = np.random.default_rng(seed).permutation(rows.texts)
    enough = max(1, int(np.searchsorted(np.cumsum(rows.steps[order]), most, side="right")))
    return rows.only(np.sort(order[:enough]))
