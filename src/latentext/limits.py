"""What a run may spend: limits of this run alone, no part of the spec, so that they can be raised to go on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard caps on what a dataset's requests cost in all, earlier runs included; None is no cap.

    Attributes:
        max_cost: US dollars.
        max_tokens_total: tokens, those of prompts and of texts together.
    """

    max_cost: Decimal | None = None
    max_tokens_total: int | None = None
