"""Signals that end work cleanly: SIGTERM as Ctrl-C, and starting processes that Ctrl-C does not reach.

Light on purpose: the command line uses it before anything heavy is imported.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Inside the block SIGTERM, a scheduler's way to stop a job, raises KeyboardInterrupt; afterwards it is as before.

    Signals are the main thread's business; in any other the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def interrupts_put_off() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block: what belongs together on the disk is written whole.

    For moments, as between the states of a shard and the receipt that describes them. A signal that is ignored or ends
    the process outright is left so, and in a thread other than the main one the block changes nothing: Python raises
    KeyboardInterrupt in the main thread only.

    Example:
        >>> try:
        ...     with sigterm_as_interrupt(), interrupts_put_off():
        ...         signal.raise_signal(signal.SIGTERM)
        ...         print("written")
        ... except KeyboardInterrupt:
        ...     print("interrupted")
        written
        interrupted
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def not_for_children() -> Iterator[None]:
    """A process that is started inside gets Ctrl-C only when it asks for it (`end_on_sigterm`), not in the middle of
    its first imports; this one gets it at the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C would, and Ctrl-C not at all: who started it ends it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
