"""Rates measured side by side: interleaved rounds in one process, medians and ratios printed with their spread.

Machines are shared and noisy, so a rate alone says little. All ways take turns within a round; ratios are taken
inside each round, against the row named first, and the median over rounds is printed with the smallest and largest.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Way = Callable[[], int]
"""Does some work and returns how many tokens it generated, or how much it did of whatever is counted."""


@dataclass(frozen=True)
class Row:
    """Tokens (or what else is counted) per second of one way in every round."""

    name: str
    rates: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


def measure(ways: Mapping[str, Way], rounds: int, clock: Callable[[], float] = time.perf_counter) -> list[Row]:
    """Run all ways in turn, `rounds` times, after one uncounted round that warms caches and allocators.

    Args:
        clock: `time.process_time` counts the seconds that the processor gave us, where others use it too.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = clock()
            tokens = way()
            if number:
                rates[name].append(tokens / (clock() - started))
    return [Row(name, values) for name, values in rates.items()]


def print_table(title: str, rows: list[Row], unit: str = "tokens/s") -> None:
    """Print rates and their ratios to the first row."""
    print(f"\n{title}")
    print(f"{'':44} {unit:>10} {'ratio':>8}   smallest … largest ratio")
    for row in rows:
        ratios = [mine / base for mine, base in zip(row.rates, rows[0].rates, strict=True)]
        print(
            f"{row.name:44} {row.median:>10,.0f} {statistics.median(ratios):>7.2f}x"
            f"   {min(ratios):.2f} … {max(ratios):.2f}",
            flush=True,
        )


def save(path: Path | None, tables: Mapping[str, list[Row]]) -> None:
    """Write all rates as JSON where a path is given."""
    if path is not None:
        content = {title: {row.name: row.rates for row in rows} for title, rows in tables.items()}
        path.write_text(json.dumps(content, indent=2))
