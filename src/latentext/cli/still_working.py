"""Nothing is silent on a terminal: whatever a command does, the phase it is in is shown when nothing else is said.

What is shown would be in the way of everything that is printed. So the standard streams are watched while a command
runs: before anything is written the display leaves the screen, and after a short silence at the beginning of a line it
comes back. Where the error stream is no terminal, phases that count get plain lines instead.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO, cast

from latentext.phases import Phase, phase, watched_by, watcher

if TYPE_CHECKING:
    from latentext.run.live import RichProgress
    from latentext.run.progress import LineProgress, Progress

SILENCE = 0.5
"""Seconds without a character after which the display is shown."""

_LOOK = 0.1


@contextmanager
def never_silent(what: str) -> Iterator[None]:
    """Inside, the terminal shows what is at work whenever nothing else is said: `what`, or a phase within it."""
    watched = _Terminal(sys.stderr) if sys.stderr.isatty() else _Pipe(sys.stderr)
    with watched_by(lambda: watched), watched.watching(), phase(what):
        yield


@contextmanager
def input_awaited() -> Iterator[None]:
    """Inside, the terminal is a person's, who is typing."""
    found = watcher()
    if not isinstance(found, _Terminal):
        yield
        return
    found.shows = False
    try:
        yield
    finally:
        found.shows = True


class _Pipe:
    """Watches the phases of a command whose messages go to a file or a pipe."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    @cached_property
    def lines(self) -> LineProgress:
        """Made when there is something to say: a command like ``--help`` imports nothing for it."""
        from latentext.run.progress import LineProgress

        return LineProgress(self._stream)

    def progress_on(self, stream: TextIO) -> Progress | None:
        return self.lines if stream is self._stream else None

    def phase_begins(self, phase: Phase) -> None:
        """Nothing: most are short."""

    def phase_moves(self, phase: Phase) -> None:
        self.lines.phase_moves(phase)

    def phase_ends(self, phase: Phase) -> None:
        """Nothing."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        yield


class _Terminal:
    """Watches the phases of a command, and the streams, for a display on the terminal.

    Args:
        clock: seconds from any fixed point; what it says decides when the display is shown, and nothing else.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic):
        self.shows = True
        self._stream, self._clock = stream, clock
        self._phases: list[Phase] = []
        self._writing = threading.RLock()
        self._ended = threading.Event()
        self._last, self._line_begins = clock(), True
        self._watched: tuple[object, ...] = (stream,)

    @cached_property
    def display(self) -> RichProgress:
        """Made when it is shown for the first time: a command like ``--help`` imports nothing for it."""
        from rich.console import Console

        from latentext.run.live import RichProgress

        return RichProgress(Console(file=self._stream), self._phases)

    def progress_on(self, stream: TextIO) -> Progress | None:
        return self.display if stream in self._watched else None

    def phase_begins(self, phase: Phase) -> None:
        self._phases.append(phase)

    def phase_moves(self, phase: Phase) -> None:
        """Nothing to do: what is drawn next shows it."""

    def phase_ends(self, phase: Phase) -> None:
        self._phases.remove(phase)

    def look(self) -> None:
        """Show the display if nothing was written for a while."""
        with self._writing:
            if self.shows and self._line_begins and self._phases and self._clock() - self._last >= SILENCE:
                self.display.show()

    def write(self, stream: TextIO, text: str) -> int:
        """Write to one of the streams, with the display off the screen."""
        with self._writing:
            if "display" in self.__dict__:
                self.display.hide()
            self._last = self._clock()
            self._line_begins = text.endswith("\n") if text else self._line_begins
            return stream.write(text)

    def write_to_pipe(self, stream: TextIO, text: str) -> int:
        """Write to what may be a pager: from now on it has the terminal, and only stages show their bar."""
        self.shows = False
        return self.write(stream, text)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the streams of this process."""
        before = sys.stdout, sys.stderr
        sys.stderr = cast(TextIO, _Watched(sys.stderr, self.write))
        if sys.stdout.isatty():
            sys.stdout = cast(TextIO, _Watched(sys.stdout, self.write))
        elif _is_pipe(sys.stdout):
            sys.stdout = cast(TextIO, _Watched(sys.stdout, self.write_to_pipe))
        self._watched = (self._stream, sys.stderr)
        looking = threading.Thread(target=self._keep_looking, name="latentext-display", daemon=True)
        looking.start()
        try:
            yield
        finally:
            self._ended.set()
            looking.join()
            if "display" in self.__dict__:
                self.display.hide()
            sys.stdout, sys.stderr = before

    def _keep_looking(self) -> None:
        while not self._ended.wait(_LOOK):
            self.look()


class _Watched:
    """A stream of text whose writing goes through a function; all else is the stream's own."""

    def __init__(self, stream: TextIO, write: Callable[[TextIO, str], int]):
        self._stream, self._write = stream, write

    def write(self, text: str) -> int:
        return self._write(self._stream, text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_pipe(stream: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # No file behind it.
        return False


def named(arguments: Sequence[str]) -> str:
    """The command that these arguments call, for a person.

    Example:
        >>> named(["align", "weigh", "data/bank"]), named(["run", "spec.yaml"]), named(["--version"])
        ('latentext align weigh', 'latentext run', 'latentext')
    """
    words = arguments[: 2 if arguments[:1] and arguments[0] in ("align", "batch", "pairs") else 1]
    return " ".join(["latentext", *(word for word in words if not word.startswith("-"))])
