"""What a run may spend: limits of this run alone, no part of the spec, so that they can be raised to go on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from latentext.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard caps on what a dataset's requests cost in all, earlier runs included; None is no cap.

    Attributes:
        max_cost: US dollars.
        max_tokens_total: tokens, those of prompts and of texts together.
    """

    max_cost: Decimal | None = None
    max_tokens_total: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no amount.

        Raises:
            ArgumentError: a cap is negative or not finite.
        """
        for name, cap in (("--max-cost", self.max_cost), ("--max-tokens-total", self.max_tokens_total)):
            if cap is not None and not (Decimal(str(cap)).is_finite() and cap >= 0):
                raise ArgumentError(f"is {cap}", where=name, remedy="give a number from 0 on, or leave the cap out")
