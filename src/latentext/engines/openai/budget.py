"""Hard caps: a request's worst case is reserved before it is sent and released on the answer's usage.

Spent, reserved and possibly spent together never exceed a cap. The worst case of a prompt is its bytes (a token is at
least one byte in every byte-level or sentencepiece vocabulary) and some for the frame of each message; of a text, the
output limit in the request's body.

A killed run leaves requests under way of which nobody knows whether they were billed. So before more is reserved than
was ever promised, the journal gets a higher promise, synced; it grows to the most that is ever under way and then
stays, a handful of commits a run. A run that finds a promise counts it as possibly spent.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from latentext.engines.openai.journal import Journal, add_spend
from latentext.engines.openai.prices import Price
from latentext.engines.openai.spend import PICO, Spend, dollars, money, picodollars
from latentext.errors import BudgetError, SpecError
from latentext.limits import Limits

_TOKENS_A_MESSAGE = 16
_TOKENS_A_REQUEST = 16
"""Of the frame that a chat format puts around the texts; OpenAI's takes 3 or 4 a message."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The most that a request can cost; `picodollars` is 0 where the price is unknown."""

    tokens: int
    picodollars: int

    def __add__(self, other: Worst) -> Worst:
        return Worst(self.tokens + other.tokens, self.picodollars + other.picodollars)

    def __sub__(self, other: Worst) -> Worst:
        return Worst(self.tokens - other.tokens, self.picodollars - other.picodollars)


NOTHING = Worst(0, 0)


class Budget:
    """What may still be spent of a journal's caps. Calls from several threads are fine.

    Example:
        >>> import tempfile; from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "j")) as journal:
        ...     budget = Budget(journal, Limits(max_tokens_total=100))
        ...     first, second = budget.reserve(Worst(80, 0)), budget.reserve(Worst(30, 0))
        ...     budget.settle(Worst(80, 0), Spend(answers=1, prompt_tokens=20))
        ...     (first, second, budget.reserve(Worst(30, 0)))
        (True, False, True)
    """

    def __init__(self, journal: Journal, limits: Limits):
        self._journal, self._limits, self._lock = journal, limits, threading.Lock()
        cap = limits.max_cost
        # As it is written: 0.1 is a little more than a tenth when it is read as a binary number.
        self._cap = None if cap is None else int(Decimal(str(cap)) * PICO)
        self._reserved = self._under_way = self._promised = NOTHING
        lost = journal.promised()
        if any(lost):
            counted = Spend(uncertain_picodollars=lost[0], uncertain_tokens=lost[1])

            def count_lost(connection: sqlite3.Connection) -> None:
                add_spend(connection, "(under way when a run ended)", counted)
                connection.execute("UPDATE promised SET picodollars = 0, tokens = 0")

            journal.change(count_lost).result()
        self._spent = journal.spend()

    @property
    def spent(self) -> Spend:
        """What was spent so far, earlier runs included."""
        with self._lock:
            return self._spent

    def reserve(self, worst: Worst, *, promise: bool = True) -> bool:
        """Set the worst case of a request aside; False, and nothing set aside, if it does not fit under the caps.

        Args:
            promise: note it in the journal; False for what is on disk by other means, such as a batch.
        """
        with self._lock:
            if not self._fits(total := self._reserved + worst):
                return False
            self._reserved, noted = total, None
            if promise:
                self._under_way = self._under_way + worst
                noted = self._raise_promise()
        if noted is not None:
            noted.result()
        return True

    def settle(self, worst: Worst, spend: Spend, *, promise: bool = True) -> None:
        """Give a reservation back, and count what the request really cost (nothing: ``Spend()``).

        Args:
            promise: take it off the promise too; False where that stands until `kept`, or where there was none.
        """
        with self._lock:
            self._reserved, self._spent = self._reserved - worst, self._spent + spend
            if promise:
                self._under_way = self._under_way - worst

    def kept(self, worst: Worst) -> None:
        """An answer that was settled without its promise is on the disk: not even a power cut can lose it now."""
        with self._lock:
            self._under_way = self._under_way - worst

    def ever_fits(self, worst: Worst) -> bool:
        """Whether this request would fit if nothing else were under way."""
        with self._lock:
            return self._fits(worst)

    def exhausted(self) -> BudgetError:
        """The error that says which cap was reached."""
        with self._lock:
            spent, limits = self._spent, self._limits
            more = " (and up to that much more may have been billed for lost answers)" if spent.uncertain_tokens else ""
        if self._cap is not None:
            left = money(max(Decimal(0), dollars(self._cap) - (dollars(spent.picodollars) + spent.uncertain_cost)))
            what = f"the cap of {money(dollars(self._cap))} is reached: {money(dollars(spent.picodollars))} spent{more}"
            what += f"; {left} left are less than the next request may cost"
            remedy = "raise --max-cost to go on"
        else:
            what = f"the cap of {limits.max_tokens_total:,} tokens is reached: {spent.tokens:,} used{more}"
            remedy = "raise --max-tokens-total to go on"
        return BudgetError(what, remedy=remedy, heading="Quota and budgets")

    def close(self) -> None:
        """Nothing is under way any more: take the promise back."""
        with self._lock:
            if self._promised == NOTHING:
                return
            self._promised = under_way = self._under_way
        self._journal.promise(under_way.picodollars, under_way.tokens).result()

    def _fits(self, reserved: Worst) -> bool:
        spent, limits = self._spent, self._limits
        if self._cap is not None:
            total = spent.picodollars + spent.uncertain_picodollars + reserved.picodollars
            if total > self._cap:
                return False
        if limits.max_tokens_total is None:
            return True
        return spent.tokens + spent.uncertain_tokens + reserved.tokens <= limits.max_tokens_total

    def _raise_promise(self) -> Future[None] | None:
        """Promise more, in steps that double, if more is under way now than was promised."""
        promised, total = self._promised, self._under_way
        if total.tokens <= promised.tokens and total.picodollars <= promised.picodollars:
            return None
        self._promised = self._capped(Worst(2 * total.tokens, 2 * total.picodollars), total)
        return self._journal.promise(self._promised.picodollars, self._promised.tokens)

    def _capped(self, wished: Worst, needed: Worst) -> Worst:
        """Not more than the caps leave, so that a promise that is found again does not use up what was never asked."""
        tokens, money_left = wished.tokens, wished.picodollars
        if self._limits.max_tokens_total is not None:
            left = self._limits.max_tokens_total - self._spent.tokens - self._spent.uncertain_tokens
            tokens = max(needed.tokens, min(tokens, left))
        if self._cap is not None:
            left = self._cap - self._spent.picodollars - self._spent.uncertain_picodollars
            money_left = max(needed.picodollars, min(money_left, left))
        return Worst(tokens, money_left)


def worst_case(body: Mapping[str, Any], price: Price | None, *, batch: bool = False) -> Worst:
    """The most that a request body can cost: every byte of its texts a token, and all the output it allows.

    Example:
        >>> worst_case({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}, None).tokens
        47
    """
    prompt = prompt_bound(body)
    output = output_bound(body)
    cost = 0 if price is None else picodollars(price.worst_cost(prompt, output, batch=batch))
    return Worst(prompt + output, cost)


def prompt_bound(body: Mapping[str, Any]) -> int:
    """Tokens of the prompt at most."""
    messages = body.get("messages", ())
    texts = sum(len(str(message.get("content") or "").encode()) for message in messages)
    # A schema of the answer's form, or tools, are put into the prompt by the server.
    others = sum(len(repr(body[name]).encode()) for name in ("response_format", "tools", "functions") if body.get(name))
    return texts + others + _TOKENS_A_MESSAGE * len(messages) + _TOKENS_A_REQUEST


def output_bound(body: Mapping[str, Any]) -> int:
    """Tokens of the output at most.

    Raises:
        SpecError: the body sets no limit, so there is no bound.
    """
    limits = [body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
    if not limits:
        raise SpecError(
            "no limit on the output is left in the request",
            where="model.api.request",
            remedy="set max_completion_tokens",
        )
    return int(max(limits)) * int(body.get("n") or 1)


def refuse_unpriced(limits: Limits, price: Price | None, model: str) -> None:
    """Refuse a cap on money where nobody knows what the model costs.

    Raises:
        SpecError: there is a cap and no price.
    """
    if limits.max_cost is not None and price is None:
        raise SpecError(
            f"the price of {model!r} is not known, so a cap on money cannot be kept",
            where="--max-cost",
            remedy="give its price in a table (model.api.prices), or cap tokens: --max-tokens-total",
            heading="Quota and budgets",
        )
