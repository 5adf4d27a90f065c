"""What batches cost: worst case before they are sent, the server's own usage after their answers are here.

A cap counts a batch that is under way with its worst case, and one whose files are here with what its answers say; an
answer that does not say counts with its own worst case. The files are the journal: nothing else has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from latentext.engines.openai.answer import metered, read_text
from latentext.engines.openai.batches.ledger import Ledger, Part, Step
from latentext.engines.openai.batches.request_files import read_bodies, read_requests
from latentext.engines.openai.batches.settling import outputs_of
from latentext.engines.openai.batches.workspace import Workspace
from latentext.engines.openai.budget import Worst, refuse_unpriced, worst_case
from latentext.engines.openai.prices import Prices
from latentext.engines.openai.spend import Spend, dollars, money
from latentext.errors import BudgetError
from latentext.limits import Limits


def worst_of(place: Workspace, part: Part, prices: Prices) -> Worst:
    """The most that a part's batch can cost.

    Raises:
        SpecError: a request sets no limit on its output.
    """
    tokens = picodollars = 0
    for body in read_bodies(place.request_file(part.number)):
        worst = worst_case(body, prices.of(str(body.get("model", ""))), batch=True)
        tokens, picodollars = tokens + worst.tokens, picodollars + worst.picodollars
    return Worst(tokens, picodollars)


def spent_on(place: Workspace, parts: Iterable[Part], prices: Prices) -> Spend:
    """What the answers of these parts cost, by the usage that they state; every line counts, doubled ones once."""
    total = Spend()
    for part in parts:
        ids = [line.custom_id for line in read_requests(place.request_file(part.number))]
        for answer in outputs_of(place, [part]).answers(ids):
            if answer.body is not None:
                total += _cost(answer.body, part.model, prices) or Spend(answers=1, unpriced=1)
    return total


@dataclass
class Caps:
    """Asked before a part is sent (`latentext.engines.openai.batches.submitting.Afford`)."""

    place: Workspace
    limits: Limits
    prices: Prices
    _known: dict[int, Worst] = field(default_factory=dict)

    def __call__(self, ledger: Ledger, part: Part) -> None:
        """Let a part pass if it fits under the caps with all that was sent before it.

        Raises:
            BudgetError: it does not. SpecError: there is a cap on money and no price.
        """
        if self.limits == Limits():
            return
        refuse_unpriced(self.limits, self.prices.of(part.model), part.model)
        sent = [self._of(other) for other in ledger.parts if other.number != part.number and _may_cost(other)]
        worst = worst_of(self.place, part, self.prices)
        tokens = sum(other.tokens for other in sent) + worst.tokens
        cost = dollars(sum(other.picodollars for other in sent) + worst.picodollars)
        before = f"batches so far count with {money(cost - dollars(worst.picodollars))}"
        if self.limits.max_cost is not None and cost > self.limits.max_cost:
            raise BudgetError(
                f"batch {part.number} may cost up to {money(dollars(worst.picodollars))}, {before}, and the cap is "
                f"{money(self.limits.max_cost)}",
                remedy="raise --max-cost to go on, or lower max_tokens or the requests of a file",
                heading="Quota and budgets",
            )
        most = self.limits.max_tokens_total
        if most is not None and tokens > most:
            raise BudgetError(
                f"batch {part.number} may take up to {worst.tokens:,} tokens, batches so far count with "
                f"{tokens - worst.tokens:,}, and the cap is {most:,}",
                remedy="raise --max-tokens-total to go on",
                heading="Quota and budgets",
            )

    def _of(self, part: Part) -> Worst:
        """What a part that was sent counts with; known for good once its files are here."""
        if part.number in self._known:
            return self._known[part.number]
        if part.step not in (Step.DOWNLOADED, Step.SETTLED):
            return worst_of(self.place, part, self.prices)
        tokens = cost = 0
        lines = list(read_requests(self.place.request_file(part.number)))
        answers = {answer.custom_id: answer for answer in outputs_of(self.place, [part]).answers(_ids(lines))}
        for line, body in zip(lines, read_bodies(self.place.request_file(part.number)), strict=True):
            answer = answers.get(line.custom_id)
            if answer is not None and answer.body is not None:
                spend = _cost(answer.body, part.model, self.prices)
                worst = worst_case(body, self.prices.of(part.model), batch=True)
                tokens += worst.tokens if spend is None else spend.tokens
                cost += worst.picodollars if spend is None else spend.picodollars
        self._known[part.number] = Worst(tokens, cost)
        return self._known[part.number]


def _ids(lines: Iterable[Any]) -> list[str]:
    return [line.custom_id for line in lines]


def _may_cost(part: Part) -> bool:
    return part.step in (Step.CREATING, Step.SUBMITTED, Step.DOWNLOADED, Step.SETTLED)


def _cost(body: Mapping[str, Any], model: str, prices: Prices) -> Spend | None:
    return metered(read_text(body), prices.of(model), batch=True)
