"""Hard caps: a request's worst case is reserved before it is sent and released on the answer's usage.

Spent, reserved and possibly spent together never exceed a cap. What a request can cost at most says `bounds`, what its
answer counts for `counting`.

A killed run leaves requests under way of which nobody knows whether they were billed. So before more is under way than
was ever promised, the journal gets a higher promise, synced. It grows to the most that is under way at one time, a
handful of commits a run, and is lowered when nothing more is to be sent for a while. A run that finds a promise counts
it as possibly spent. Nothing is promised before a connection stands, so a server that is not there costs nothing.

A batch that was sent is under way for hours, and through kills. The journal has a row for it from before it is asked
for, and until its answers are counted it counts at its upper bound.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from decimal import Decimal

from latentext.engines.server.bounds import NOTHING, Worst
from latentext.engines.server.counting import doubt
from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.journal_tables import MOST, add_spend, put_answer
from latentext.engines.server.prices import Price
from latentext.engines.server.spend import PICO, Spend, dollars, money
from latentext.errors import BudgetError, SpecError
from latentext.spec.limits import Limits


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
        rows = journal.read("SELECT tag, tokens, picodollars FROM batches WHERE NOT counted")
        self._batches = {str(tag): Worst(tokens, cost) for tag, tokens, cost in rows}

    @property
    def spent(self) -> Spend:
        """What was spent so far, earlier runs included; batches that are not counted yet as possibly spent."""
        with self._lock:
            return self._spent + doubt(self._sent)

    @property
    def _sent(self) -> Worst:
        return sum(self._batches.values(), NOTHING)

    def reserve(self, worst: Worst) -> bool:
        """Set the worst case of a request aside; False, and nothing set aside, if it does not fit under the caps."""
        with self._lock:
            if not self._fits(total := self._reserved + worst):
                return False
            self._reserved, self._under_way = total, self._under_way + worst
            noted = self._raise_promise()
        if noted is not None:
            noted.result()
        return True

    def settle(self, worst: Worst, spend: Spend, *, promise: bool = True) -> None:
        """Give a reservation back, and count what the request really cost (nothing: ``Spend()``).

        Args:
            promise: take it off the promise too; False where that stands until `kept`.
        """
        with self._lock:
            self._reserved, self._spent = self._reserved - worst, self._spent + spend
            if promise:
                self._under_way = self._under_way - worst

    def kept(self, worst: Worst) -> None:
        """An answer that was settled without its promise is on the disk: not even a power cut can lose it now."""
        with self._lock:
            self._under_way = self._under_way - worst

    def lower_promise(self) -> None:
        """Promise no more than is under way now: for the moments in which nothing more is sent.

        Nobody waits for that: until it is synced, a power cut leaves the higher promise.
        """
        with self._lock:
            if self._promised != self._under_way:
                self._promised = now = self._under_way
                self._journal.promise(now.picodollars, now.tokens)

    def knows_batch(self, tag: str) -> bool:
        """Whether a batch was counted, at its upper bound or by its answers."""
        return bool(self._journal.read("SELECT 1 FROM batches WHERE tag = ?", (tag,)))

    def send_batch(self, tag: str, worst: Worst, *, was_sent: bool = False) -> bool:
        """Count a batch at its upper bound from now on, on the disk; False, and nothing done, if it does not fit.

        Args:
            was_sent: it was sent by a run that noted nothing, so it counts whether it fits or not.
        """
        with self._lock:
            if tag in self._batches:
                return True
            if not was_sent and not self._fits(self._reserved + worst):
                return False
            self._batches[tag] = worst
        row = (tag, min(worst.picodollars, MOST), min(worst.tokens, MOST))
        sql = "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, 0)"
        self._journal.change(lambda connection: connection.execute(sql, row)).result()
        return True

    def waits_for_batch(self, tag: str) -> bool:
        """Whether a batch counts at its upper bound still."""
        with self._lock:
            return tag in self._batches

    def give_back_batch(self, tag: str) -> None:
        """Nothing was made of a batch: it counts no more."""
        with self._lock:
            if self._batches.pop(tag, None) is None:
                return
        self._journal.change(lambda connection: connection.execute("DELETE FROM batches WHERE tag = ?", (tag,)))

    def count_batch(self, tag: str, model: str, answers: Sequence[JournalAnswer], others: Spend) -> None:
        """Keep the answers of a batch that ended and count it by them, in one commit; a second time changes nothing.

        Args:
            others: what its requests without an answer count for.
        """
        spend = sum((answer.spend for answer in answers), others)

        def change(connection: sqlite3.Connection) -> bool:
            known = connection.execute("UPDATE batches SET counted = 1 WHERE tag = ? AND NOT counted", (tag,))
            if not known.rowcount:
                return False
            for answer in answers:
                put_answer(connection, model, answer)
            add_spend(connection, model, others)
            return True

        if not self._journal.change(change).result():
            return
        with self._lock:
            self._batches.pop(tag, None)
            self._spent += spend

    def forget_batches(self, tags: Sequence[str]) -> None:
        """Let the rows go of batches that were counted and are settled."""
        rows = [(tag,) for tag in tags]
        sql = "DELETE FROM batches WHERE tag = ? AND counted"
        self._journal.change(lambda connection: connection.executemany(sql, rows))

    def exhausted(self) -> BudgetError:
        """The error that says which cap was reached."""
        spent = self.spent
        if self._cap is not None:
            left = dollars(self._cap) - dollars(spent.picodollars) - spent.uncertain_cost
            doubted = money(spent.uncertain_cost) if spent.uncertain_picodollars else ""
            rest = money(max(Decimal(0), left))
            what = _reached(money(dollars(self._cap)), money(dollars(spent.picodollars)), doubted, rest)
            remedy = "raise --max-cost to go on"
        else:
            most = self._limits.max_tokens_total or 0
            doubted = f"{spent.uncertain_tokens:,}" if spent.uncertain_tokens else ""
            rest = f"{max(0, most - spent.tokens - spent.uncertain_tokens):,}"
            what = _reached(f"{most:,} tokens", f"{spent.tokens:,}", doubted, rest)
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
        spent, sent, limits = self._spent, self._sent, self._limits
        if self._cap is not None:
            total = spent.picodollars + spent.uncertain_picodollars + sent.picodollars + reserved.picodollars
            if total > self._cap:
                return False
        if limits.max_tokens_total is None:
            return True
        return spent.tokens + spent.uncertain_tokens + sent.tokens + reserved.tokens <= limits.max_tokens_total

    def _raise_promise(self) -> Future[None] | None:
        """Promise as much as is under way, if that is more than was promised."""
        promised, total = self._promised, self._under_way
        if total.tokens <= promised.tokens and total.picodollars <= promised.picodollars:
            return None
        self._promised = Worst(max(total.tokens, promised.tokens), max(total.picodollars, promised.picodollars))
        return self._journal.promise(self._promised.picodollars, self._promised.tokens)


def _reached(cap: str, spent: str, doubted: str, left: str) -> str:
    """Such as ``the cap of 0.10 USD is reached: spent 0.00 USD, at most 0.0985 USD in doubt, 0.0015 USD left, …``."""
    parts = [f"spent {spent}", *([f"at most {doubted} in doubt"] if doubted else []), f"{left} left"]
    return f"the cap of {cap} is reached: {', '.join(parts)}, less than the next request may cost"


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
