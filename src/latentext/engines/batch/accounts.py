"""What the batches of a run count for: the most until they have ended, then what their answers say.

The journal has a row for every batch, from before it is asked for (`budget`), so that a killed run, another dataset
with the same journal and a batch that nobody asks about any more are counted alike. Each shard of a run has an account.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from latentext.engines.batch.costs import counted_lines, worst_of
from latentext.engines.batch.ledger import BatchPart, Ledger, read_ledger
from latentext.engines.batch.submitting import Afford
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.budget import Budget
from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.prices import Price
from latentext.engines.server.redaction import Redaction
from latentext.engines.server.spend import Spend
from latentext.errors import BudgetError


class Entry(NamedTuple):
    """Where the journal keeps an answer."""

    key: str
    sample: int


class BatchAccounts:
    """The accounts of all shards of a run."""

    def __init__(self, budget: Budget, journal: Journal, model: str, price: Price | None, redaction: Redaction):
        self.redaction = redaction
        self.budget, self.journal, self.model, self.price = budget, journal, model, price
        self._lock = threading.Lock()
        self._at_work: list[Account] = []

    def take_over(self, root: Path) -> None:
        """Count all batches below a folder that may be at a server and are in no row: version 0.1.0 wrote none.

        Rows of batches that were never asked for, since a run was killed before, are let go.
        """
        for ledger_file in sorted(root.glob("*/requests")):
            place = BatchWorkspace(ledger_file, ledger_file.with_name("outputs"))
            if (ledger := read_ledger(place.requests)) is not None:
                self.adopt(place, ledger)

    def adopt(self, place: BatchWorkspace, ledger: Ledger) -> None:
        """See `take_over`, for one folder."""
        for part in ledger.parts:
            if not part.may_cost:
                self.budget.give_back_batch(part.tag)
            elif not self.budget.knows_batch(part.tag):
                self.budget.send_batch(part.tag, worst_of(place, part, self.price), was_sent=True)

    @contextmanager
    def of(self, place: BatchWorkspace, ledger: Ledger, entries: Mapping[str, Entry]) -> Iterator[Account]:
        """The account of a shard that is at work.

        Args:
            entries: where the journal keeps the answer to each custom_id.
        """
        self.adopt(place, ledger)
        account = Account(self, place, entries)
        account.under_way.update(part.tag for part in ledger.parts if part.may_cost and not part.has_answers)
        with self._lock:
            self._at_work.append(account)
        try:
            yield account
        finally:
            with self._lock:
                self._at_work.remove(account)

    def others_at_work(self, account: Account) -> bool:
        """Whether a batch of another shard is under way, which will count less when it ends."""
        with self._lock:
            return any(other.under_way for other in self._at_work if other is not account)


class Account(Afford):
    """What the batches of one shard count for.

    Attributes:
        under_way: tags of those that are at the server.
        refused: the error of the last batch that did not fit under a cap.
    """

    def __init__(self, accounts: BatchAccounts, place: BatchWorkspace, entries: Mapping[str, Entry]):
        self._all, self._place, self._entries = accounts, place, entries
        self.under_way: set[str] = set()
        self.refused: BudgetError | None = None

    def __call__(self, ledger: Ledger, part: BatchPart) -> None:
        """Let a part pass if it fits, and count it at its upper bound.

        Raises:
            BudgetError: it does not.
        """
        if not self._all.budget.send_batch(part.tag, worst_of(self._place, part, self._all.price)):
            self.refused = self._all.budget.exhausted()
            raise self.refused
        self.under_way.add(part.tag)

    def give_back(self, part: BatchPart) -> None:
        """Nothing came of a part."""
        self._all.budget.give_back_batch(part.tag)
        self.under_way.discard(part.tag)

    def count(self, ledger: Ledger) -> None:
        """Keep and count the answers of every batch whose files are here."""
        for part in ledger.parts:
            if part.has_answers and self._all.budget.waits_for_batch(part.tag):
                self._count(part)
            if part.has_answers:
                self.under_way.discard(part.tag)

    def _count(self, part: BatchPart) -> None:
        answers, others = list[JournalAnswer](), Spend()
        for custom_id, answer, spend in counted_lines(self._place, part, self._all.price):
            entry = self._entries.get(custom_id)
            if entry is not None and entry in self._all.journal.answers([entry]):
                continue  # Version 0.1.0 counted it when it was kept.
            if entry is None or answer is None or answer.body is None:
                others += spend
                continue
            raw = self._all.redaction.of_bytes(json.dumps(answer.body).encode())
            answers.append(JournalAnswer(*entry, raw, spend))
        self._all.budget.count_batch(part.tag, self._all.model, answers, others)
