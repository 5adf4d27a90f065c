"""How fast requests are sent: a window that adapts, pauses that the server asks for, and limits that the user names.

The window is how many requests are in flight. It starts small and doubles with every round of answers (each answer adds
one) until the first 429; from then on it grows by one a round. A 429 halves it, once for all requests that were on
their way when it came, and sends nothing until the server's ``Retry-After`` has passed. That is TCP's congestion
control, and for the same reason: how much a server takes is only learnt by asking, and all who share an account must
converge on a fair part.

Nothing here sleeps or reads the time by itself; who uses it passes the present moment in seconds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FIRST_WAIT = 1.0
MOST_WAIT = 60.0
"""Seconds before a second try; they double up to the most where the server does not say how long."""

_FIRST_WINDOW = 4
_BURST_SECONDS = 2.0


@dataclass
class Bucket:
    """A limit of so many units a minute, refilled evenly; it may be overdrawn once and then has to recover.

    Example:
        >>> bucket = Bucket(per_minute=60)
        >>> bucket.take(2, now=0.0)
        >>> bucket.wait(now=0.0), bucket.wait(now=1.5)
        (0.0, 0.0)
        >>> bucket.take(3, now=1.5)
        >>> bucket.wait(now=1.5)
        1.5
    """

    per_minute: float
    _level: float = field(init=False)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._level = self._most

    @property
    def _most(self) -> float:
        return max(1.0, self.per_minute * _BURST_SECONDS / 60)

    def wait(self, now: float) -> float:
        """Seconds until something may be taken."""
        self._refill(now)
        return 0.0 if self._level >= 0 else -self._level * 60 / self.per_minute

    def take(self, units: float, now: float) -> None:
        """Take units, more than there are if need be: a request larger than the bucket must pass at some time."""
        self._refill(now)
        self._level -= units

    def give_back(self, units: float) -> None:
        """Return units that were taken and not used."""
        self._level = min(self._most, self._level + units)

    def _refill(self, now: float) -> None:
        self._level = min(self._most, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now


class Pace:
    """When the next request may be sent. To be used from one thread.

    Args:
        concurrency: the most in flight.
        first_wait: seconds, doubled with every further try.

    Example:
        >>> pace = Pace(concurrency=8)
        >>> for _ in range(4): pace.sent(now=0.0)
        >>> pace.wait(now=0.0) is None                      # the window is full: only an answer makes room
        True
        >>> pace.answered(); pace.window, pace.wait(now=0.1)
        (5, 0.0)
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        first_wait: float = FIRST_WAIT,
    ):
        self._most, self._first_wait = concurrency, first_wait
        self._window = float(min(_FIRST_WINDOW, concurrency))
        self._slow_start = True
        self._requests = Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute) if tokens_per_minute else None
        self._paused_until = float("-inf")
        self._cut_at = float("-inf")
        self._refused_in_a_row = 0
        self.in_flight = 0

    @property
    def window(self) -> int:
        """How many requests may be in flight now."""
        return max(1, int(self._window))

    def wait(self, now: float) -> float | None:
        """Seconds until a request may be sent (0: now), or None: not before one in flight has ended."""
        if self.in_flight >= self.window:
            return None
        waits = [self._paused_until - now]
        waits += [bucket.wait(now) for bucket in (self._requests, self._tokens) if bucket is not None]
        return max(0.0, *waits)

    def sent(self, tokens: int = 0, *, now: float) -> None:
        """A request of about so many tokens is on its way."""
        self.in_flight += 1
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def answered(self, unused_tokens: int = 0) -> None:
        """A request was answered with so many tokens less than it was thought to take."""
        self._ended(unused_tokens)
        self._refused_in_a_row = 0
        self._window = min(float(self._most), self._window + (1.0 if self._slow_start else 1.0 / self._window))

    def failed(self) -> None:
        """A request ended without an answer that says anything about speed."""
        self._ended(0)

    def refused(self, retry_after: float | None, sent_at: float, *, now: float) -> None:
        """A request was answered 429: too fast. A pause begins for all; `sent_at` is when this one was sent."""
        self._ended(0)
        if sent_at > self._cut_at:
            self._window = max(1.0, self._window / 2)
            self._slow_start = False
            self._cut_at = now
            self._refused_in_a_row += 1
        wait = self.backoff(self._refused_in_a_row) if retry_after is None else retry_after
        self._paused_until = max(self._paused_until, now + wait)

    def backoff(self, tries: int) -> float:
        """Seconds before another try after so many: doubled each time, up to a most, and spread by a quarter, so that
        requests that failed together do not come back together."""
        wait = min(MOST_WAIT, self._first_wait * 2.0 ** (max(1, tries) - 1))
        return wait * random.uniform(0.75, 1.25)

    def _ended(self, unused_tokens: int) -> None:
        self.in_flight -= 1
        if self._tokens is not None:
            self._tokens.give_back(unused_tokens)
