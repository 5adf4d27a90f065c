"""Ctrl-C and SIGTERM: put off while what belongs together is written, and never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from latentext.storage.interrupts import interrupts_put_off, sigterm_as_interrupt


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    at_first = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs begin without it.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before
    signal.signal(signal.SIGINT, at_first)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_inside_comes_once_the_block_is_done(sent: signal.Signals) -> None:
    done = []
    with sigterm_as_interrupt(), pytest.raises(KeyboardInterrupt), interrupts_put_off():
        signal.raise_signal(sent)
        done.append(1)
    assert done == [1]


def test_of_blocks_inside_each_other_the_outermost_decides() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_put_off():
        with interrupts_put_off():
            signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done == [1]


def test_what_goes_wrong_inside_is_told_with_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, interrupts_put_off():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the disk is full")
    assert isinstance(caught.value.__context__, ValueError)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_put_off():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_no_handler() -> None:
    seen = []

    def look() -> None:
        with interrupts_put_off():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
