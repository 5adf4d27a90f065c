"""Requests that are handed to the sender, and where their results go."""

from __future__ import annotations

from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from latentext.engines.server.answer import AnswerText
from latentext.engines.server.bounds import NOTHING, Worst
from latentext.engines.server.errors import ApiError, stopping_error
from latentext.errors import BudgetError, EngineError, LatentextError
from latentext.request import Request


@dataclass(eq=False)
class Job:
    """One request to be sent: what to ask, what it may cost, where the result goes.

    Attributes:
        name, attempt: see `naming`.
        bound: the most that it can cost by its body; `worst` is what was set aside for it when it was sent.
    """

    name: str
    sample: int
    body: dict[str, Any]
    bound: Worst
    outbox: Outbox
    request: Request
    attempt: int = 1
    tries: int = 0
    worst: Worst = NOTHING

    @property
    def place(self) -> tuple[str, int]:
        """Key and sample of the text."""
        return self.request.key, self.sample


@dataclass(frozen=True)
class Result:
    """What became of a job: an answered text, or an error that its request alone met."""

    job: Job
    text: AnswerText | None = None
    error: ApiError | None = None


@dataclass(eq=False)
class Outbox:
    """Where one caller waits for its results; an exception in it ends the waiting."""

    results: SimpleQueue[Result | BaseException] = field(default_factory=SimpleQueue)
    withdrawn: bool = False


_MOST_PAUSE = 600.0
"""Seconds; a server that asks for a longer pause is out of quota for now."""

_FAILED_IN_A_ROW = 8
"""Requests that fail for the server's sake with none answered in between: then it is down, and the run stops."""


@dataclass
class Endings:
    """Counts requests that failed for the server's sake.

    Attributes:
        server: its address, for messages; None is OpenAI's.
        max_tries: of one request.
    """

    server: str | None
    max_tries: int
    _failed_in_a_row: int = 0

    def answered(self) -> None:
        """The server is well."""
        self._failed_in_a_row = 0

    def of(self, error: ApiError, tries: int) -> LatentextError | None:
        """The error that ends the run, if this one does; `tries` is how often its request was sent."""
        if error.stops:
            return stopping_error(error)
        if error.retry_after is not None and error.retry_after > _MOST_PAUSE:
            what = f"the server asks to wait {error.retry_after:,.0f} s: {error.message}"
            return BudgetError(
                what, where=self.server, remedy="give the same command later", heading="Quota and budgets"
            )
        if error.retried and tries >= self.max_tries:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= _FAILED_IN_A_ROW:
                each = "1 try" if tries == 1 else f"{tries} tries"
                what = f"{error.in_words}; {self._failed_in_a_row} requests in a row failed, each after {each}"
                return EngineError(
                    what, where=self.server, remedy="give the same command again when the server is well"
                )
        return None
