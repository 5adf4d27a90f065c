"""Requests that are handed to the sender, and where their results go."""

from __future__ import annotations

from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from latentext.engines.server.answer import AnswerText
from latentext.engines.server.bounds import NOTHING, Worst
from latentext.engines.server.errors import ApiError
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
