"""A picture of how far texts are from the count that was asked, from the verdicts of the spec's check."""

from __future__ import annotations

from collections import Counter

import numpy as np

from latentext.dataset.checks import check_stages, verdicts
from latentext.dataset.correctness import deviation_bin
from latentext.dataset.reader import Dataset
from latentext.report.picture import BLUE, GREEN, Picture, Skipped, Subject, canvas, label

DEVIATIONS = Subject("deviation_bins", "Error of the count")

_BINS = list(dict.fromkeys(deviation_bin(error) for error in range(-50, 51)))
"""All bins, from far too few to far too many."""


def deviation_bins(dataset: Dataset) -> Picture | Skipped:
    """Accepted texts by how many words too few or too many they have."""
    if dataset.spec.check is None:
        return DEVIATIONS.skipped("the spec has no check of what was asked")
    if not any(check_stages(dataset.directory, dataset.spec)):
        return DEVIATIONS.skipped("no text was checked yet")
    found = verdicts(dataset)
    judged, accepted = np.isfinite(found["accepted"]), found["accepted"] == 1
    errors = found["count_error"][accepted & np.isfinite(found["count_error"])].astype(np.int64)
    if not judged.any():
        return DEVIATIONS.skipped("no text was checked yet")
    counts = Counter(map(deviation_bin, errors.tolist()))
    with canvas() as (figure, (panel,)):
        colours = [GREEN if name == "exact" else BLUE for name in _BINS]
        bars = panel.bar(range(len(_BINS)), [counts[name] for name in _BINS], color=colours)
        panel.bar_label(bars, fontsize=8)
        panel.set_xticks(range(len(_BINS)), labels=_BINS, rotation=45, ha="right")
        panel.grid(axis="x", visible=False)
        label(panel, "words found minus words asked", "accepted texts")
        panel.set_title(f"n = {len(errors):,} accepted of {int(judged.sum()):,} checked texts")
        exact = int((found["exact"] == 1).sum())
        numbers = {
            "exact": f"{exact:,} of {int(judged.sum()):,} checked ({exact / judged.sum():.1%})",
            "rejected": f"{int((judged & ~accepted).sum()):,}",
            "mean absolute error": f"{np.abs(errors).mean():.3f} words" if len(errors) else "no accepted text",
        }
        caption = "Accepted is a text that is nothing but the word, repeated; rejected texts have no bin."
        return DEVIATIONS.drawn(figure, caption, numbers)
