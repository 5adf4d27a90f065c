"""What the numbers of all options have in common: they are finite. Ranges alone let `nan` pass."""

from __future__ import annotations

import math
from typing import TypeVar

import typer

Number = TypeVar("Number", float, float | None, list[float], list[float] | None)


def finite(value: Number) -> Number:
    """The callback of every option that is a number, or several.

    Raises:
        typer.BadParameter: one is infinite or not a number.
    """
    numbers = value if isinstance(value, list) else [] if value is None else [value]
    if wrong := [number for number in numbers if not math.isfinite(number)]:
        raise typer.BadParameter(f"{wrong[0]} is not a finite number")
    return value
