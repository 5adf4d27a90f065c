"""λ and values as people type them: numbers, lists of numbers, comma lists with or without brackets, "all"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from latentext.errors import ArgumentError


def parse_lambdas(lam_list: float | str | Iterable[float | str]) -> tuple[float, ...]:
    """Read one λ or several, of either sign.

    Raises:
        ArgumentError: nothing given, or a part that is no finite number.

    Example:
        >>> parse_lambdas(-0.5), parse_lambdas("1,0.25"), parse_lambdas("[1, -2]"), parse_lambdas([1, "2"])
        ((-0.5,), (1.0, 0.25), (1.0, -2.0), (1.0, 2.0))
    """
    lambdas = tuple(_parse_lambda(part) for part in as_parts(lam_list))
    if not lambdas:
        raise ArgumentError("no λ given", remedy="write for example --lam_list=-0.5")
    return lambdas


def parse_values(value_list: str | Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Read the names of values; "all" stands for all that are known, in their order.

    Raises:
        ArgumentError: nothing given, a name twice, or an unknown one; the message lists the known ones.

    Example:
        >>> parse_values("humor", ["humor", "length"]), parse_values("all", ["humor", "length"])
        (('humor',), ('humor', 'length'))
    """
    values = tuple(map(str, as_parts(value_list)))
    if values == ("all",):
        return tuple(known)
    unknown = [value for value in values if value not in known]
    if unknown:
        raise ArgumentError(f"unknown value {', '.join(map(repr, unknown))}", remedy=f"known are {', '.join(known)}")
    if not values:
        raise ArgumentError("no value given", remedy=f"known are {', '.join(known)}")
    if len(set(values)) < len(values):
        raise ArgumentError(f"a value is given twice: {', '.join(values)}")
    return values


def parse_palette(
    lam_list: float | str | Iterable[float | str], value_list: str | Iterable[str], known: Sequence[str]
) -> dict[str, float]:
    """Read λ and values together, as a mapping from value to λ in the order given.

    Raises:
        ArgumentError: as the two above, or lists of different lengths.

    Example:
        >>> parse_palette("0.5,-1", "humor,length", ["length", "humor"])
        {'humor': 0.5, 'length': -1.0}
    """
    lambdas, values = parse_lambdas(lam_list), parse_values(value_list, known)
    if len(lambdas) != len(values):
        raise ArgumentError(
            f"{len(lambdas)} λ for {len(values)} values ({', '.join(values)})",
            remedy=f"give one λ a value; known values are {', '.join(known)}",
        )
    return dict(zip(values, lambdas, strict=True))


def as_parts(given: float | str | Iterable[float | str]) -> list[float | str]:
    """One thing, a list of them, or text with commas and perhaps brackets, as a list; quotation marks are left out.

    Example:
        >>> as_parts("[humor, 'length']"), as_parts(1.5)
        (['humor', 'length'], [1.5])
    """
    if isinstance(given, str):
        # Shells and fire-style command lines pass lists as "[1, 2]" or "(1, 2)".
        inner = given.strip().removeprefix("[").removeprefix("(").removesuffix("]").removesuffix(")")
        return [part.strip().strip("'\"") for part in inner.split(",") if part.strip()]
    if isinstance(given, Iterable):
        return [part.strip().strip("'\"") if isinstance(part, str) else part for part in given]
    return [given]


def _parse_lambda(part: float | str) -> float:
    try:
        number = float(part)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ArgumentError(f"λ must be finite numbers, not {part!r}")
    return number
