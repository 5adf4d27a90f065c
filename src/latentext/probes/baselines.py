"""What a probe must beat: predictions from what anyone knows without looking at a state.

Each baseline is a small table of features in the place of the states, and the same kind of probe is fitted to it, so a
difference is due to the information alone. A linear probe of one number is a straight line, which would be a straw
man: every number x also comes as x² and log(1 + x).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentext.probes.rows import Feature, Features, ProbeRows, RowValues
from latentext.probes.shuffling import permuted

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
