"""What was spent so far: tokens as the provider counts them, and money where prices are known.

Money is counted in whole picodollars (10⁻¹² US dollars): a price per million tokens has at most six decimals, so a
token's price is a whole number of them, sums are exact, and SQLite can add them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

PICO = Decimal(10) ** 12


@dataclass(frozen=True, slots=True)
class Spend:
    """Totals of a journal, earlier runs included.

    Attributes:
        answers: requests that were answered.
        picodollars: cost of those whose model has a price.
        unpriced: answers of models without a price: for them only tokens are known.
        uncertain_picodollars, uncertain_tokens: at most so much more may have been billed: for answers that do not
            state their usage, and for requests whose answer was lost (time-outs, broken connections, a killed run) or
            is still to come (a batch). Caps count it as spent.
    """

    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    picodollars: int = 0
    unpriced: int = 0
    uncertain_picodollars: int = 0
    uncertain_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of prompts and of texts together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> Decimal | None:
        """US dollars; None if no answer had a price."""
        return None if self.unpriced == self.answers else dollars(self.picodollars)

    @property
    def uncertain_cost(self) -> Decimal:
        """US dollars that may have been billed for answers that were lost."""
        return dollars(self.uncertain_picodollars)

    def facts(self) -> dict[str, int | float | None]:
        """The totals for other programs; money in US dollars."""
        return {
            "answers": self.answers,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": None if self.cost is None else float(self.cost),
            "unpriced_answers": self.unpriced,
            "uncertain_tokens": self.uncertain_tokens,
            "uncertain_cost": float(self.uncertain_cost),
        }

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Spend:
        """The totals that `facts` gave.

        Example:
            >>> spend = Spend(answers=2, prompt_tokens=5, picodollars=7_500_000)
            >>> Spend.of_facts(spend.facts()) == spend
            True
        """
        return cls(
            answers=facts["answers"],
            prompt_tokens=facts["prompt_tokens"],
            cached_tokens=facts["cached_tokens"],
            completion_tokens=facts["completion_tokens"],
            picodollars=picodollars(Decimal(str(facts["cost"] or 0))),
            unpriced=facts["unpriced_answers"],
            uncertain_picodollars=picodollars(Decimal(str(facts["uncertain_cost"]))),
            uncertain_tokens=facts["uncertain_tokens"],
        )

    def __add__(self, other: Spend) -> Spend:
        return Spend(*(getattr(self, name) + getattr(other, name) for name in Spend.__slots__))

    def __str__(self) -> str:
        """Such as ``1,000 prompt + 200 text tokens, 0.0042 USD``: a run's rates count the tokens of texts alone. Where
        usage is missing, what it is at most, and what is sure of it.

        Example:
            >>> print(Spend(answers=2, prompt_tokens=40, picodollars=10**8, uncertain_tokens=300,
            ...     uncertain_picodollars=26 * 10**8))
            up to 340 tokens, up to 0.0027 USD (sure: 40 prompt + 0 text tokens, 0.0001 USD)
        """
        if not self.uncertain_tokens:
            return self._amounts()
        most = Spend(
            answers=self.answers,
            prompt_tokens=self.tokens + self.uncertain_tokens,
            picodollars=self.picodollars + self.uncertain_picodollars,
            unpriced=0 if self.uncertain_picodollars else self.unpriced,
        )
        return f"{most._amounts('up to ')} (sure: {self._amounts()})"

    def _amounts(self, most: str = "") -> str:
        """Tokens and money, each behind the words `most`."""
        split = f"{self.prompt_tokens:,} prompt + {self.completion_tokens:,} text tokens"
        parts = [f"{most}{self.tokens:,} tokens" if most else split]
        if self.picodollars or self.cost is not None:
            parts.append(f"{most}{money(dollars(self.picodollars))}{' and unpriced models' if self.unpriced else ''}")
        elif self.answers:
            parts.append("price unknown")
        return ", ".join(parts)


def dollars(picodollars: int) -> Decimal:
    """US dollars of a whole number of picodollars."""
    return Decimal(picodollars) / PICO


def picodollars(amount: Decimal) -> int:
    """Whole picodollars of an amount in US dollars, rounded up."""
    return int((amount * PICO).to_integral_value(ROUND_CEILING))


def money(amount: Decimal | float) -> str:
    """An amount as a person reads it: cents from ten dollars on, below that four significant places of a dollar.

    Example:
        >>> money(Decimal("12.3456")), money(Decimal("0.00423")), money(Decimal(0))
        ('12.35 USD', '0.0042 USD', '0.00 USD')
    """
    return f"{amount:.2f} USD" if amount == 0 or amount >= 10 else f"{amount:.4f} USD"
