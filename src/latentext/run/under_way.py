"""How far the texts of a shard are that are not finished: with large shards the first ends late, and a run that only
counted finished texts would look dead until then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

_SECONDS = 0.25
"""Between two reports at least: a step of the decode loop is shorter, and nobody reads faster."""


class Advance(Protocol):
    """Told how far a shard is."""

    def __call__(self, texts: int, tokens: int, under_way: int = 0, /) -> None:
        """So many more texts are finished, with so many tokens; so many more tokens are in texts that are not.

        All may be negative: where a batch is taken back, and where a text under way was finished.
        """
        ...


class UnderWay:
    """The tokens of the texts of one shard that an engine is writing.

    Args:
        advance: told of changes.
    """

    def __init__(self, advance: Advance, clock: Callable[[], float] = time.monotonic):
        self._advance, self._clock = advance, clock
        self._told, self._last = 0, clock()
        self._lock = threading.Lock()  # Engines report from threads of their own.

    def reached(self, tokens: int) -> None:
        """So many tokens are in texts that are not finished."""
        with self._lock:
            if self._clock() - self._last < _SECONDS:
                return
            self._last = self._clock()
            more, self._told = tokens - self._told, tokens
        self._advance(0, 0, more)

    def finished(self, texts: int, tokens: int) -> None:
        """So many texts are finished, with so many tokens."""
        with self._lock:
            of_these = min(tokens, self._told)
            self._told -= of_these
        self._advance(texts, tokens, -of_these)

    def end(self) -> None:
        """Nothing is under way any more."""
        with self._lock:
            left, self._told = self._told, 0
        if left:
            self._advance(0, 0, -left)
