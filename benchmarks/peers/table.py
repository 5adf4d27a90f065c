"""Agreement of states, and the tables for ``docs/benchmarks.md``."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MOST_DIFFERENCE = 1e-3
"""States agree when no row differs by more, relative to its own length."""


def largest_difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest relative difference of a row: ‖found - expected‖ / ‖expected‖ over texts [sites, tokens, width].

    Raises:
        ValueError: shapes differ, there is nothing to compare, or a value is not finite.

    Example:
        >>> largest_difference([np.array([[[3.0, 4.0]]])], [np.array([[[3.0, 4.5]]])])  # 0.5 of 5.41
        0.09245003270420488
    """
    if len(found) != len(expected) or not len(found):
        raise ValueError(f"{len(found)} texts, expected {len(expected)}")
    largest = 0.0
    for mine, theirs in zip(found, expected, strict=True):
        if mine.shape != theirs.shape:
            raise ValueError(f"states of shape {list(mine.shape)}, expected {list(theirs.shape)}")
        away = np.linalg.norm(mine.astype(np.float64) - theirs, axis=-1)
        relative = away / np.maximum(np.linalg.norm(theirs.astype(np.float64), axis=-1), 1e-12)
        if not np.isfinite(relative).all():
            raise ValueError("states are not finite")
        largest = max(largest, float(relative.max()))
    return largest


def render(results: Mapping[str, Any]) -> str:
    """Markdown: one table a set, ratios to the first row of the set, taken inside each round."""
    machine = results["machine"]
    out = [
        f"{results['model']}: {machine}, {results['threads']} threads, fp32, two sites, {results['rounds']} rounds",
        "",
    ]
    for name, rows in results["sets"].items():
        out.append(f"| {results['titles'][name]} | prompts | tokens/s | ratio | smallest … largest | states |")
        out.append("|---" * 6 + "|")
        base = next((row["rates"] for row in rows if row["rates"]), [])
        out += [_line(row, base) for row in rows]
        out.append("")
    return "\n".join(out)


def _line(row: Mapping[str, Any], base: Sequence[float]) -> str:
    if row.get("error"):
        return f"| {row['name']} | {row['prompts']} | – | – | – | {row['error'].replace('|', '/')} |"
    if not row["rates"]:
        return f"| {row['name']} | {row['prompts']} | not measured | – | – | – |"
    ratios = [mine / first for mine, first in zip(row["rates"], base, strict=False)]
    spread = f"{min(ratios):.2f} … {max(ratios):.2f}"
    rate = f"{statistics.median(row['rates']):,.0f}"
    return (
        f"| {row['name']} | {row['prompts']} | {rate} | {statistics.median(ratios):.2f} | {spread} | {_states(row)} |"
    )


def _states(row: Mapping[str, Any]) -> str:
    """How far the states are from the reference, and how many of the compared texts are the first row's."""
    if row.get("difference") is None:
        return "none kept"
    words = f"{row['difference']:.0e}"
    if row["difference"] > MOST_DIFFERENCE:
        words = f"**differ by {words}**"
    return words if row.get("same") is None else f"{words}, {row['same']} texts the same"
