"""What a stand-in would have billed, in tokens and picodollars: counted by the server, whatever its answers say."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from latentext.request import Usage

# Of gpt-4o on OpenAI's page of prices: 2.50 and 10 dollars per million tokens; batches cost half.
INPUT, OUTPUT = Decimal("2.50"), Decimal("10")


def tokens(bill: Iterable[Usage]) -> int:
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in bill)


def dollars(bill: Iterable[Usage], *, batch: bool = False) -> Decimal:
    each = (usage.prompt_tokens * INPUT + usage.completion_tokens * OUTPUT for usage in bill)
    return sum(each, Decimal(0)) / 1_000_000 / (2 if batch else 1)
