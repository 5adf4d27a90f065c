"""What batches cost: worst case before they are sent, the server's own usage after their answers are here.

A request of a batch that was sent counts at its upper bound until its answer says less, by the one rule of `counting`:
one that is missing, broken, without a body or without usage, or that failed at the server, stays at its bound. The
files say all that is needed; nothing else has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from latentext.engines.batch.joining import BatchAnswer
from latentext.engines.batch.ledger import BatchPart, BatchStatus, Ledger
from latentext.engines.batch.polling import NOT_KNOWN
from latentext.engines.batch.request_files import read_bodies
from latentext.engines.batch.settling import answered_lines
from latentext.engines.batch.submitting import Afford
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.answer import read_text
from latentext.engines.server.bounds import NOTHING, Worst, worst_case
from latentext.engines.server.budget import refuse_unpriced
from latentext.engines.server.counting import counted, doubt
from latentext.engines.server.prices import Price, Prices
from latentext.engines.server.request_fields import refuse_uncovered
from latentext.engines.server.spend import Spend, dollars, money
from latentext.errors import BudgetError
from latentext.spec.limits import Limits


def worst_of(place: BatchWorkspace, part: BatchPart, price: Price | None) -> Worst:
    """The most that a part's batch can cost.

    Raises:
        SpecError: a request sets no limit on its output.
    """
    bodies = read_bodies(place.request_file(part.number))
    return sum((worst_case(body, price, batch=True) for body in bodies), NOTHING)


def counted_lines(
    place: BatchWorkspace, part: BatchPart, price: Price | None
) -> Iterator[tuple[str, BatchAnswer | None, Spend]]:
    """Of each request of a part whose batch has ended: custom_id, the answer if there is one, what it counts for."""
    for line, body, answer in answered_lines(place, part):
        yield line.custom_id, answer, _counted(part, answer, worst_case(body, price, batch=True), price)


def spent_on(place: BatchWorkspace, parts: Iterable[BatchPart], prices: Prices) -> Spend:
    """What these parts count for: by their answers, or, as long as their batch is under way, at most."""
    total = Spend()
    for part in parts:
        price = prices.of(part.model)
        if part.has_answers:
            total = sum((spend for _, _, spend in counted_lines(place, part, price)), total)
        elif part.may_cost:
            total += doubt(worst_of(place, part, price))
    return total


@dataclass
class Caps(Afford):
    """Lets parts pass as long as they fit under caps with all that was sent before them."""

    place: BatchWorkspace
    limits: Limits
    prices: Prices
    _known: dict[int, Worst] = field(default_factory=dict)

    def __call__(self, ledger: Ledger, part: BatchPart) -> None:
        """Let a part pass if it fits under the caps with all that was sent before it.

        Raises:
            BudgetError: it does not. SpecError: there is a cap on money and no price, or a field that breaks a cap.
        """
        if self.limits == Limits():
            return
        refuse_unpriced(self.limits, self.prices.of(part.model), part.model)
        file = self.place.request_file(part.number)
        for number, body in enumerate(read_bodies(file), start=1):
            refuse_uncovered(body, self.limits, f"{file}, request {number}: body")
        sent = [self._of(other) for other in ledger.parts if other.number != part.number and other.may_cost]
        before, worst = sum(sent, NOTHING), worst_of(self.place, part, self.prices.of(part.model))
        cost = dollars(before.picodollars + worst.picodollars)
        if self.limits.max_cost is not None and cost > self.limits.max_cost:
            raise BudgetError(
                f"batch {part.number} may cost up to {money(dollars(worst.picodollars))}, batches so far count with "
                f"{money(dollars(before.picodollars))}, and the cap is {money(self.limits.max_cost)}",
                remedy="raise --max-cost to go on, or lower max_tokens or the requests of a file",
                heading="Quota and budgets",
            )
        most = self.limits.max_tokens_total
        if most is not None and before.tokens + worst.tokens > most:
            raise BudgetError(
                f"batch {part.number} may take up to {worst.tokens:,} tokens, batches so far count with "
                f"{before.tokens:,}, and the cap is {most:,}",
                remedy="raise --max-tokens-total to go on",
                heading="Quota and budgets",
            )

    def _of(self, part: BatchPart) -> Worst:
        """What a part that was sent counts with; known for good once its files are here."""
        if part.number in self._known:
            return self._known[part.number]
        spend = spent_on(self.place, [part], self.prices)
        found = Worst(spend.tokens + spend.uncertain_tokens, spend.picodollars + spend.uncertain_picodollars)
        if part.has_answers:
            self._known[part.number] = found
        return found


def _counted(part: BatchPart, answer: BatchAnswer | None, worst: Worst, price: Price | None) -> Spend:
    if answer is None and part.status is BatchStatus.FAILED and part.problem_code != NOT_KNOWN and not part.lost:
        return Spend()  # The server refused the batch as a whole: nothing of it was tried.
    outcome = None if answer is None else answer.error or read_text(answer.body or {})
    return counted(outcome, worst, price, batch=True)
