"""What a palette asks for: a level of each value, said in the way that comes naturally.

    humor=2.46        the level itself (negative ones too: perplexity=-3.3)
    humor=+0.4        0.4 above the base level
    humor=+0.5sd      half a standard deviation of the bank's rewards above the base level (-0.5sd: below)
    humor=80%         the level that 80 % of the bank's samples stay under

A target is a floor: the λ that reaches it is the smallest tilt under which the level is at least that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latentext.errors import ArgumentError, SpecError
from latentext.studies.align.bank import LARGEST, Bank, Floats

_NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"
_TARGET = re.compile(rf"(?P<sign>[+-]?)(?P<number>{_NUMBER})(?P<unit>sd|%)?")


@dataclass(frozen=True, slots=True)
class Target:
    """One value's target; `kind` says what `amount` means: a level, a shift of the base level, a shift in standard
    deviations, or a quantile between 0 and 1."""

    kind: Literal["level", "shift", "deviations", "quantile"]
    amount: float


def parse_target(text: str | float) -> Target:
    """Read one target; a bare number is a level.

    Raises:
        ArgumentError: the text is none of the four forms, or the number is not finite or too large.

    Example:
        >>> parse_target("+0.5sd")
        Target(kind='deviations', amount=0.5)
        >>> parse_target(-3.3)
        Target(kind='level', amount=-3.3)
    """
    if isinstance(text, (int, float)):
        return Target("level", _amount(text, text))
    match = _TARGET.fullmatch(text.strip())
    if match is None or (match["unit"] == "%" and match["sign"]):
        raise ArgumentError(f"not a target: {text!r}", remedy="write 2.46, +0.4, +0.5sd or 80%")
    amount = _amount(f"{match['sign']}{match['number']}", text)
    if match["unit"] == "sd":
        return Target("deviations", amount)
    if match["unit"] == "%":
        if amount > 100.0:
            raise ArgumentError(f"not a quantile: {text!r}", remedy="write a number from 0% to 100%")
        return Target("quantile", amount / 100.0)
    return Target("shift" if match["sign"] == "+" else "level", amount)


def parse_targets(texts: str | Sequence[str] | Mapping[str, str | float]) -> dict[str, Target]:
    """Read a palette: ``"humor=+0.5sd,harmless=+0.3sd"``, a list of such, or a mapping of names to targets.

    Raises:
        ArgumentError: a part that is not ``name=target``, a name twice, or nothing at all.

    Example:
        >>> parse_targets("humor=+0.5sd,harmless=0.4")["harmless"]
        Target(kind='level', amount=0.4)
    """
    if isinstance(texts, Mapping):
        pairs = [(name, parse_target(target)) for name, target in texts.items()]
    else:
        parts = [part for text in ([texts] if isinstance(texts, str) else texts) for part in text.split(",")]
        pairs = [_parse_pair(part) for part in parts if part.strip()]
    targets = dict(pairs)
    if len(targets) < len(pairs):
        raise ArgumentError(f"a value has two targets: {', '.join(name for name, _ in pairs)}")
    if not targets:
        raise ArgumentError("no target given", remedy="write for example humor=+0.5sd")
    return targets


def target_levels(bank: Bank, targets: Mapping[str, Target]) -> Floats:
    """The level that each target asks for on this bank: float64 [targets], in the order of `targets`.

    Raises:
        SpecError: the bank lacks a value, a shift in standard deviations of a reward that is constant, or a level too
            large to compute with.
    """
    levels = {name: _level(bank, name, target) for name, target in targets.items()}
    for name, level in levels.items():
        if not abs(level) <= LARGEST:
            raise SpecError(f"the target of {name!r} is {level:g}", remedy=f"give a level of at most {LARGEST:g}")
    return np.array(list(levels.values()))


def _amount(number: str | float, text: str | float) -> float:
    amount = float(number)
    if not abs(amount) <= LARGEST:
        raise ArgumentError(f"not a target: {text!r}", remedy=f"give a finite number, at most {LARGEST:g}")
    return amount


def _parse_pair(text: str) -> tuple[str, Target]:
    name, equals, target = text.partition("=")
    if not equals or not name.strip():
        raise ArgumentError(f"not a target: {text.strip()!r}", remedy="write name=target, for example humor=+0.5sd")
    return name.strip(), parse_target(target)


def _level(bank: Bank, name: str, target: Target) -> float:
    column = bank.index_of(name)
    base, spread = float(bank.base_levels[column]), float(bank.spreads[column])
    if target.kind == "level":
        return target.amount
    if target.kind == "shift":
        return base + target.amount
    if target.kind == "quantile":
        return float(np.quantile(bank.rewards[:, :, column], target.amount))
    if not spread:
        raise SpecError(f"all rewards {name!r} are equal: no λ can move them", remedy="leave this target out")
    return base + target.amount * spread
