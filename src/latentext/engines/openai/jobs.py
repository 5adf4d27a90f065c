"""Requests that are handed to the sender, and where their results go."""

from __future__ import annotations

from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from latentext.engines.openai.answer import Text
from latentext.engines.openai.budget import Worst
from latentext.engines.openai.errors import ApiError


@dataclass(eq=False)
class Job:
    """One request to be sent: what to ask, what it may cost, where the result goes."""

    key: str
    sample: int
    body: dict[str, Any]
    worst: Worst
    outbox: Outbox
    tag: Any = None
    tries: int = 0


@dataclass(frozen=True)
class Result:
    """What became of a job: an answered text, or an error that its request alone met."""

    job: Job
    text: Text | None = None
    error: ApiError | None = None


@dataclass(eq=False)
class Outbox:
    """Where one caller waits for its results; an exception in it ends the waiting."""

    results: SimpleQueue[Result | BaseException] = field(default_factory=SimpleQueue)
    withdrawn: bool = False
