"""What a request that was sent counts for: the one rule of real time, batches and proposals.

An answer counts with the usage that it states. Without a usable one it counts at its upper bound, and so does a request
of which nobody knows whether it was answered: a lost connection, a line that a batch lost, an error of the server.
A request that was never sent, and one that the server refused to work on, count for nothing.
"""

from __future__ import annotations

from latentext.engines.server.answer import AnswerText
from latentext.engines.server.bounds import Worst
from latentext.engines.server.errors import ApiError
from latentext.engines.server.prices import Price
from latentext.engines.server.spend import Spend, picodollars


def counted(outcome: AnswerText | ApiError | None, worst: Worst, price: Price | None, *, batch: bool = False) -> Spend:
    """What one request counts for against caps, and how it is shown.

    Args:
        outcome: its answer or its error; None where nothing came back.
        worst: the most that it can cost.
        price: of its model; None counts tokens alone.
        batch: it went through the Batch API, which has its own price.

    Example:
        >>> text = AnswerText("Hi", "stop", None)
        >>> counted(text, Worst(40, 900), None)
        Spend(answers=1, prompt_tokens=0, cached_tokens=0, completion_tokens=0, picodollars=0, unpriced=1, \
uncertain_picodollars=900, uncertain_tokens=40)
        >>> counted(None, Worst(40, 900), None).uncertain_tokens
        40
    """
    if isinstance(outcome, ApiError):
        return doubt(worst) if outcome.may_have_cost else Spend()
    if outcome is None:
        return doubt(worst)
    answered = Spend(answers=1, unpriced=int(price is None))
    usage = outcome.usage
    if usage is None or (outcome.text and not usage.completion_tokens):  # A text takes a token at least.
        return answered + doubt(worst)
    tokens = Spend(0, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
    if price is None:
        return answered + tokens
    cost = price.cost(usage, batch=batch, cache_write_tokens=outcome.cache_write_tokens)
    return answered + tokens + Spend(picodollars=picodollars(cost))


def doubt(worst: Worst) -> Spend:
    """What may have been billed, at most."""
    return Spend(uncertain_picodollars=worst.picodollars, uncertain_tokens=worst.tokens)
