"""What requests wait for, in words: a server that fails for a while looks like a run that hangs.

Nothing is said while answers come: then a request that is tried again delays nobody. Once there was none for some
seconds, a line says how many requests wait, for what and how long, until the next answer.

Nothing here sleeps or reads the time by itself; who uses it passes the present moment in seconds.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from latentext.engines.server.errors import ApiError

QUIET_SECONDS = 2.0
"""Without an answer after a failure, before anything is said."""

SLOW_SECONDS = 5.0
"""The same of a server that has not failed: it may be writing a long text."""


@dataclass
class Delays:
    """The requests that are tried again later. To be used from one thread.

    Attributes:
        answered_at: when the last answer came, or when there was nothing to answer before.

    Example:
        >>> from latentext.engines.server.errors import ApiErrorKind
        >>> delays = Delays(answered_at=0.0)
        >>> delays.failed("a request", ApiError(ApiErrorKind.SERVER, "oops", 500), again_at=12.0)
        >>> delays.line(4.0, queued=0, in_flight=0)
        '1 request waits: the server answered with error 500 ("oops"), next try in 8 s'
    """

    answered_at: float
    _again_at: dict[Hashable, float] = field(default_factory=dict)
    _paused_until: float = 0.0
    _last: ApiError | None = None

    def __bool__(self) -> bool:
        return bool(self._again_at)

    def failed(self, request: Hashable, error: ApiError, again_at: float) -> None:
        """A request is sent again at this moment."""
        self._again_at[request], self._last = again_at, error

    def paused(self, error: ApiError, until: float) -> None:
        """Nothing is sent before this moment."""
        self._paused_until, self._last = until, error

    def sent(self, request: Hashable) -> None:
        """A request waits no longer."""
        self._again_at.pop(request, None)

    def answered(self, now: float) -> None:
        """An answer came: only requests that wait still say that the server failed."""
        self.answered_at = now
        if not self._again_at:
            self._last = None

    def line(self, now: float, *, queued: int, in_flight: int) -> str | None:
        """What is waited for; None while answers come.

        Args:
            queued: requests that were not sent yet.
            in_flight: requests whose answer is awaited.
        """
        quiet, waiting = now - self.answered_at, len(self._again_at) + queued + in_flight
        if not waiting or quiet < (SLOW_SECONDS if self._last is None else QUIET_SECONDS):
            return None
        wait = "1 request waits" if waiting == 1 else f"{waiting:,} requests wait"
        if self._last is None:
            return f"{wait}: the server has not answered for {quiet:.0f} s"
        moments = [self._paused_until, *self._again_at.values()] if queued else self._again_at.values()
        again = min((moment - now for moment in moments if moment > now), default=0.0)
        when = "tried again now" if in_flight or again < 1 else f"next try in {again:.0f} s"
        return f"{wait}: {self._last.in_words}, {when}"
