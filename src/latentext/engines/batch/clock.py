"""The time of day and waiting, as one value: a test waits ten minutes or twenty-four hours in no time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """`now` in seconds since 1970, and `sleep` for a number of seconds."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Stopped(Exception):  # noqa: N818 - a request of the caller, no fault
    """Somebody asked for the waiting to end."""


def stoppable_clock(stop: threading.Event) -> Clock:
    """A clock whose waiting ends at once, with `Stopped`, when `stop` is set."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise Stopped

    return Clock(sleep=sleep)


def backing_off(first: float, most: float, factor: float = 1.5) -> Iterator[float]:
    """Ever longer waits in seconds, without end.

    Example:
        >>> waits = backing_off(1, 4, factor=2)
        >>> [next(waits) for _ in range(4)]
        [1, 2, 4, 4]
    """
    wait = first
    while True:
        yield wait
        wait = min(most, wait * factor)
