"""What a probe must beat: predictions from what anyone knows without looking at a state.

Each baseline is a small table of features in the place of the states, and the same kind of probe is fitted to it, so a
difference is due to the information alone. A linear probe of one number is a straight line, which would be a straw
man: every number x also comes as x² and log(1 + x).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentext.probes.rows import Features, ProbeRows

Doubles = npt.NDArray[np.float64]

MEAN = "mean"
STEP = "step"
STEP_AND_PROMPT = "step + prompt length"
COUNT_MINUS_STEP = "count - step"
SHUFFLED = "shuffled labels"
UNTRAINED = "untrained twin"


def features(rows: ProbeRows) -> tuple[Features, dict[str, str]]:
    """The baselines that these rows allow, and for each that they do not, why."""
    step, prompt_length = rows.step.astype(np.float64), rows.prompt_length.astype(np.float64)
    tables = {
        STEP: _expanded(step),
        STEP_AND_PROMPT: np.column_stack([_expanded(step), _expanded(prompt_length), step * prompt_length]),
    }
    if rows.asked is None:
        return Features(tables), {COUNT_MINUS_STEP: "the prompts ask for no count"}
    asked = rows.asked.astype(np.float64)
    left = asked - step
    # Step and count also stand alone: where a word is two tokens, what is left is twice the count less the step.
    tables[COUNT_MINUS_STEP] = np.column_stack([left, _expanded(np.maximum(left, 0.0)), asked, step, left == 0])
    return Features(tables), {}


def shuffled(values: npt.NDArray[np.float64], part: npt.NDArray[np.int8], seed: int = 0) -> Doubles:
    """Labels dealt out again at random among the rows of each part: what is still predicted then is an error."""
    rng = np.random.default_rng(seed)
    dealt = values.copy()
    for name in np.unique(part):
        rows = np.flatnonzero(part == name)
        dealt[rows] = values[rng.permutation(rows)]
    return dealt


def _expanded(values: Doubles) -> Doubles:
    """[n, 3]: x, x² and log(1 + x) of numbers that are at least 0."""
    return np.column_stack([values, np.square(values), np.log1p(values)])
