"""Pictures of lengths: how much is still to come at a random token, and how long texts are for the count asked.

Both are computed from the records alone, exactly, whether states were captured or not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from latentext.dataset.reader import Dataset
from latentext.dataset.splits import SEQUENTIAL
from latentext.dataset.targets import CUT, TextLengths, text_lengths
from latentext.errors import DatasetError
from latentext.report.picture import BLUE, GREEN, ORANGE, RED, Picture, Skipped, Subject, canvas, label
from latentext.report.streaming import GroupedMoments

REMAINING = Subject("remaining_by_split", "Remaining tokens by split")
BY_COUNT = Subject("length_by_count", "Length by the count asked for")

_SPLIT_COLOURS = {"train": BLUE, "val": ORANGE, "test": GREEN, "all": BLUE}
_MOST_BINS = 60
_MOST_POINTS = 4000


def remaining_by_split(dataset: Dataset) -> Picture | Skipped:
    """How many tokens are still to come, over all generated tokens of each split.

    Of T tokens of a text one has 0 remaining, one has 1, … one has T - 1. Texts that were cut at the limit have no
    known remaining length and are left out; their number is said.
    """
    lengths = text_lengths(dataset)
    if not lengths.whole.any():
        return REMAINING.skipped(lengths.why_none_is_whole())
    splits, note = _splits(dataset, len(lengths.whole))
    totals = {name: lengths.total_tokens[rows][lengths.whole[rows]] for name, rows in splits.items()}
    largest = int(max(total.max(initial=1) for total in totals.values()))
    width = -(-largest // _MOST_BINS)
    edges = np.arange(0, largest + width, width)
    with canvas(len(totals), width=max(7.0, 4.2 * len(totals))) as (figure, axes):
        for (name, total), panel in zip(totals.items(), axes, strict=True):
            counts = _remaining_counts(total, edges)
            panel.bar(
                edges[:-1] - 0.5, counts, width=width, align="edge", color=_SPLIT_COLOURS[name], edgecolor="white"
            )
            panel.set_title(f"{name}: {len(total):,} texts, n = {int(total.sum()):,} tokens")
            label(
                panel, "remaining tokens", "generated tokens" if width == 1 else f"generated tokens in bins of {width}"
            )
        numbers = {f"{name}, mean remaining": _mean_remaining(total) for name, total in totals.items()}
        caption = f"Over all generated tokens of {int(lengths.whole.sum()):,} texts that ended by themselves; "
        return REMAINING.drawn(figure, caption + f"{_left_out(lengths)}. {note}", numbers)


def length_by_count(dataset: Dataset) -> Picture | Skipped:
    """Generated tokens of every text over the count that its prompt asks for, with the mean of each count."""
    variable = dataset.spec.check.repetition.count if dataset.spec.check is not None else "count"
    asked = _asked(dataset, variable)
    known = np.isfinite(asked)
    if not known.any():
        return BY_COUNT.skipped(f"no prompt has a number in a variable {variable!r}")
    lengths = text_lengths(dataset)
    moments, values, which = GroupedMoments(), *np.unique(asked[known & lengths.whole], return_inverse=True)
    moments.add(which, lengths.total_tokens[known & lengths.whole].astype(np.float64))
    with canvas() as (figure, (panel,)):
        only_cut = not (~lengths.whole & (lengths.ending != CUT)).any()
        cut = "cut at the limit" if only_cut else "length not known"
        for rows, style in (
            (known & lengths.whole, {"color": BLUE, "linewidths": 0, "label": "a text"}),
            (known & ~lengths.whole, {"color": RED, "marker": "x", "linewidths": 0.8, "label": cut}),
        ):
            _points(panel, asked[rows], lengths.total_tokens[rows], **style)
        if len(values):
            line: dict[str, Any] = {"color": ORANGE, "capsize": 2, "zorder": 1}  # Points lie on it, not under it.
            panel.errorbar(values, moments.means, moments.deviations, label="mean ± std", linewidth=1.5, **line)
        label(panel, f"{variable} asked for", "length (generated tokens)")
        panel.set_title(f"n = {int(known.sum()):,} texts, {len(np.unique(asked[known])):,} counts")
        figure.legend(loc="outside lower center", ncols=3)
        caption = (
            f"Means are of {int((known & lengths.whole).sum()):,} texts that ended by themselves; {_left_out(lengths)}."
        )
        numbers = {"mean length": _rounded(lengths.total_tokens[known & lengths.whole])}
        return BY_COUNT.drawn(figure, caption, numbers)


def _remaining_counts(total: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Tokens whose remaining length is in [edge, next edge): texts of T tokens have min(T, edge) below an edge."""
    below = np.array([np.minimum(total, edge).sum() for edge in edges], np.int64)
    return np.diff(below)


def _splits(dataset: Dataset, texts: int) -> tuple[Mapping[str, npt.NDArray[np.int64]], str]:
    """Rows of `records` by split, and how they were divided; all as one where they cannot be."""
    split, undivided = dataset.spec.split, {"all": np.arange(texts)}
    if split.by == SEQUENTIAL:
        return undivided, f"Shown as one: {SEQUENTIAL} divides rows and not texts."
    try:
        return dataset.split(), f"Divided by {split.by}, seed {split.seed}."
    except DatasetError as error:
        return undivided, f"Shown as one: {error}."


def _asked(dataset: Dataset, variable: str) -> npt.NDArray[np.float64]:
    """The count of every record; NaN where there is none."""
    texts = (text for table in dataset.iter_records(["variables"]) for text in table["variables"].to_pylist())
    values = (json.loads(text).get(variable) for text in texts)
    return np.array([_number(value) for value in values], np.float64)


def _number(value: object) -> float:
    """A count as rows have it: a number, or, from files without types, its digits."""
    if isinstance(value, str) and value.strip().isdecimal():
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def _points(panel: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.int64], **style: Any) -> None:
    """A point a text, at most a few thousand of them, drawn by a fixed seed."""
    chosen = np.arange(len(x))
    if len(x) > _MOST_POINTS:
        chosen = np.random.default_rng(0).choice(len(x), _MOST_POINTS, replace=False)
    if len(x):
        panel.scatter(x[chosen], y[chosen], s=14, alpha=0.45, **style)


def _mean_remaining(total: npt.NDArray[np.int64]) -> str:
    """Mean over tokens: a text of T tokens has T (T - 1) / 2 remaining tokens in sum."""
    tokens = int(total.sum())
    return f"{int((total * (total - 1) // 2).sum()) / tokens:.2f} tokens" if tokens else "no tokens"


def _rounded(total: npt.NDArray[np.int64]) -> str:
    return f"{total.mean():.2f} tokens" if len(total) else "no text ended by itself"


def _left_out(lengths: TextLengths) -> str:
    return f"left out of {len(lengths.ending):,}: {lengths.without_length() or 'none'}"
