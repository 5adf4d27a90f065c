"""Whether the server is there: looked for before the first request, and again after one that could not be sent.

A server that is not there ends a run within seconds, with its address and the reason. What was answered is kept, and
the same command goes on when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from latentext.engines.server.errors import unreachable
from latentext.engines.server.reaching import TIMED_OUT, connection_problem, place_of
from latentext.errors import LatentextError

_LOOKS = 3
"""Connections in a row that do not come about: then the server is not there, and the run stops."""

_MOST_WAIT = 2.0
"""Seconds between two of them at most."""


class Contact:
    """To be used in one event loop.

    Args:
        url: where requests go.
        direct: whether proxies of the environment are passed over.
        wait: seconds before another look after so many.
        stop: called with the error that ends the run.
        looked: called when a look has ended, with its task.

    Attributes:
        stands: connections come about, as far as is known; only then requests are sent.
        answers: how many requests were answered so far.
    """

    def __init__(
        self,
        url: str,
        *,
        direct: bool,
        wait: Callable[[int], float],
        stop: Callable[[LatentextError], None],
        looked: Callable[[asyncio.Task[None]], None],
    ):
        self._url, self._direct, self._wait, self._stop, self._looked = url, direct, wait, stop, looked
        self.stands, self.answers = False, 0
        self._failed_in_a_row, self._lost_at = 0, float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Begin to look for the server, unless that is under way."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._ended)

    def heard(self) -> None:
        """The server said something."""
        self._failed_in_a_row = 0

    def lost(self, problem: str, sent_at: float, now: float) -> None:
        """A request did not leave; of those that were sent before the last time only one counts."""
        self.stands = False
        if sent_at > self._lost_at:
            self._lost_at = now
            self._failed(problem)

    async def close(self) -> None:
        """Look no longer."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        while self._failed_in_a_row < _LOOKS:
            if self._failed_in_a_row:
                await asyncio.sleep(min(_MOST_WAIT, self._wait(self._failed_in_a_row)))
            if (reason := await connection_problem(self._url, direct=self._direct)) is None:
                self.stands = True
                return
            self._failed(f"no connection to {place_of(self._url)}: {reason}")

    def _failed(self, problem: str) -> None:
        # A host that swallows what is sent to it takes seconds to be known for one.
        self._failed_in_a_row += 2 if problem.endswith(TIMED_OUT) else 1
        if self._failed_in_a_row >= _LOOKS:
            kept = f"; what was answered is kept ({self.answers:,} in this run)" if self.answers else ""
            self._stop(unreachable(problem + kept))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        self._looked(task)
