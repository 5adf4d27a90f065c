"""Numbers and tables as people read them on a terminal: plain text, so that a pipe gets the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def size(byte_count: float) -> str:
    """A number of bytes, in decimal units.

    Example:
        >>> size(512), size(46_080_000), size(6.4e9)
        ('512 bytes', '46 MB', '6.4 GB')
    """
    if byte_count < 1000:
        return f"{byte_count:.0f} bytes"
    power = min(4, math.floor(math.log10(byte_count) / 3))
    number, unit = byte_count / 1000**power, ("kB", "MB", "GB", "TB")[power - 1]
    return f"{number:.1f} {unit}" if number < 10 else f"{number:,.0f} {unit}"


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "text"), counted(1450, "text")
        ('1 text', '1,450 texts')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def columns(rows: Iterable[Sequence[str]], gap: str = "  ") -> list[str]:
    """Rows as aligned lines: columns of numbers to the right, all others and the first to the left.

    Example:
        >>> columns([("requests", "450"), ("new tokens, at most", "90,000")])
        ['requests                450', 'new tokens, at most  90,000']
    """
    table = list(rows)
    by_column = list(zip(*table, strict=True))
    widths = [max(map(len, cells)) for cells in by_column]
    numbers = [any(cell[:1].isdigit() for cell in cells) for cells in by_column]
    numbers[:1] = [False]  # Names stand in the first column, and some begin with a digit.
    return [
        gap.join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in table
    ]
