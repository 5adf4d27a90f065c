"""What is being done now: long work announces itself before it begins, and whoever watches shows it.

Work that may take seconds is in a `phase`. The command line says who watches (`watched_by`); with nobody watching, a
phase costs nothing. Like a log message, a phase needs no argument on its way: it may begin deep in a loader that knows
nothing of terminals. Phases are for people and decide nothing. Those of other threads are not shown.

Time that is spent in `preparing` (loading a model, starting workers) is no measure of how long the work will take:
`seconds_at_work` leaves it out, and rates and estimates are made from that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Protocol


class Phase:
    """Something under way, with how much of it is done where that is known.

    Attributes:
        what: such as "loading the model SmolLM2-135M-Instruct".
        done, total: counted in whatever `what` speaks of; a total of 0 is not known.
        begun: by `time.monotonic`.
    """

    def __init__(self, what: str, total: int = 0):
        self.what, self.total, self.done = what, total, 0
        self.begun = time.monotonic()
        self._moved: Callable[[], None] = lambda: None

    def moved(self, more: int = 1) -> None:
        """So many more are done."""
        self.reached(self.done + more)

    def reached(self, done: int, total: int | None = None) -> None:
        """So many are done now, of so many."""
        self.done = done
        if total is not None:
            self.total = total
        self._moved()

    def __str__(self) -> str:
        if self.total:
            return f"{self.what}: {self.done:,} of {self.total:,}"
        return f"{self.what}: {self.done:,}" if self.done else self.what


class Watcher(Protocol):
    """Who is told of phases, by the thread that is in them."""

    def phase_begins(self, phase: Phase) -> None:
        """It begins now, inside those that are under way."""
        ...

    def phase_moves(self, phase: Phase) -> None:
        """More of it is done."""
        ...

    def phase_ends(self, phase: Phase) -> None:
        """It is over, or something went wrong."""
        ...


_watcher: ContextVar[Callable[[], Watcher] | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(make: Callable[[], Watcher]) -> Iterator[None]:
    """Inside, phases are told to a watcher, which is made when the first begins."""
    token = _watcher.set(cache(make))
    try:
        yield
    finally:
        _watcher.reset(token)


def watcher() -> Watcher | None:
    """Who watches here, if anyone does."""
    return None if (make := _watcher.get()) is None else make()


@contextmanager
def phase(what: str, total: int = 0) -> Iterator[Phase]:
    """Announce work that may take seconds, before it begins.

    Args:
        what: in the form "reading the prompts".
        total: how much there is to do, where that is known; say with `Phase.moved` what is done.

    Example:
        >>> with phase("checking files", total=3) as checking:
        ...     checking.moved(2)
        ...     print(checking)
        checking files: 2 of 3
    """
    here, told = Phase(what, total), watcher()
    if told is None:
        yield here
        return
    here._moved = lambda: told.phase_moves(here)
    told.phase_begins(here)
    try:
        yield here
    finally:
        told.phase_ends(here)


_preparing = threading.Lock()
_depth, _since, _prepared = 0, 0.0, 0.0


@contextmanager
def preparing(what: str) -> Iterator[Phase]:
    """A `phase` whose time says nothing about the work that follows, such as loading a model."""
    global _depth, _since, _prepared
    with _preparing:
        _depth += 1
        if _depth == 1:
            _since = time.monotonic()
    try:
        with phase(what) as here:
            yield here
    finally:
        with _preparing:
            _depth -= 1
            if _depth == 0:
                _prepared += time.monotonic() - _since


def seconds_at_work() -> float:
    """Seconds from a fixed point, without those in which something was prepared: the clock of rates and estimates."""
    with _preparing:
        now = time.monotonic()
        return now - _prepared - (now - _since if _depth else 0.0)
