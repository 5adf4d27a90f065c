"""What a run says while it works: a bar on a terminal, plain lines in a pipe, and `status.json` for other programs.

A runner knows only the calls of `Progress`; who watches is decided by whoever starts it. Progress is for people
and never decides anything: what is done is read from the receipts, so a lost or stale `status.json` costs nothing.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TextIO, runtime_checkable

from latentext.engines.server.spend import Spend
from latentext.errors import LatentextError
from latentext.phases import Phase, watcher
from latentext.run.tally import Clock, Tally
from latentext.storage.atomic import atomic_file


class Progress(Protocol):
    """What a runner tells its watcher. `start` may be called again for the next stage; `finish` ends the last one."""

    def start(self, total: int, done: int, description: str) -> None:
        """A stage begins; `done` of `total` texts are on disk from earlier runs."""

    def advance(self, texts: int, tokens: int) -> None:
        """So many more texts are done, with so many generated tokens; negative when a batch is taken back."""

    def writing(self, tokens: int) -> None:
        """So many more tokens are written of texts that are not finished; negative when these are, or are dropped."""

    def spent(self, spend: Spend) -> None:
        """So much was spent in all on requests to a server; comes after every answer, from another thread."""

    def waits(self, line: str | None) -> None:
        """What requests to a server wait for, anew every second; None when they do no more; from another thread."""

    def note(self, line: str) -> None:
        """Something a person should read, in one line."""

    def finish(self) -> None:
        """The work ended or was interrupted; safe to call twice."""


class NoProgress:
    """Says nothing: the default for Python callers and tests."""

    def start(self, total: int, done: int, description: str) -> None:
        """Ignore it."""

    def advance(self, texts: int, tokens: int) -> None:
        """Ignore it."""

    def writing(self, tokens: int) -> None:
        """Ignore it."""

    def spent(self, spend: Spend) -> None:
        """Ignore it."""

    def waits(self, line: str | None) -> None:
        """Ignore it."""

    def note(self, line: str) -> None:
        """Ignore it."""

    def finish(self) -> None:
        """Ignore it."""


class EachNoteOnce:
    """Passes everything on, but no note twice: for work that consists of several runs."""

    def __init__(self, inner: Progress):
        self._inner, self._noted = inner, set[str]()
        self.start, self.advance, self.finish = inner.start, inner.advance, inner.finish
        self.writing, self.spent, self.waits = inner.writing, inner.spent, inner.waits

    def note(self, line: str) -> None:
        """Pass the line on unless it was passed on before."""
        if line not in self._noted:
            self._noted.add(line)
            self._inner.note(line)


class LineProgress:
    """Plain lines, at most one every `every` seconds: readable in a log file, and no control characters.

    A phase that counts can be told to it too, and is printed at the same intervals.
    """

    def __init__(self, stream: TextIO | None = None, every: float = 5.0, clock: Clock = time.monotonic):
        self._stream, self._every, self._clock = stream or sys.stderr, every, clock
        self._tally: Tally | None = None
        self._last_line, self._waits = self._clock(), False

    def start(self, total: int, done: int, description: str) -> None:
        """Print where the stage starts."""
        self.finish()
        self._tally = Tally(total, done, description, self._clock)
        self._print_tally()

    def advance(self, texts: int, tokens: int) -> None:
        """Print the counts if the last line is long enough ago."""
        if self._tally is not None:
            self._tally.add(texts, tokens)
            self._print_if_due()

    def writing(self, tokens: int) -> None:
        """Print the counts if the last line is long enough ago."""
        if self._tally is not None:
            self._tally.writing(tokens)
            self._print_if_due()

    def spent(self, spend: Spend) -> None:
        """Say it in the next line."""
        if self._tally is not None:
            self._tally.spend = spend

    def waits(self, line: str | None) -> None:
        """Print the line when the waiting begins, and then if the last one is long enough ago."""
        if line is None:
            self._waits = False
        elif self._tally is not None and (not self._waits or self._is_due()):
            self._waits, self._last_line = True, self._clock()
            self.note(f"{self._tally.description}: {self._tally.done:,} of {self._tally.total:,}, {line}")

    def note(self, line: str) -> None:
        """Print the line at once."""
        print(line, file=self._stream, flush=True)

    def finish(self) -> None:
        """Print the final counts, unless the first line already said them."""
        if self._tally is not None and self._tally.texts:
            self._print_tally()
        self._tally = None

    def phase_moves(self, phase: Phase) -> None:
        """Print how far it is if the last line is long enough ago."""
        if self._tally is None and self._is_due():
            self._last_line = self._clock()
            self.note(str(phase))

    def _is_due(self) -> bool:
        return self._clock() - self._last_line >= self._every

    def _print_if_due(self) -> None:
        if self._is_due():
            self._print_tally()

    def _print_tally(self) -> None:
        self._last_line = self._clock()
        self.note(str(self._tally))


class StatusFile:
    """Passes everything on to another progress and keeps `status.json` in the dataset directory up to date.

    The file is written whole and renamed, so that a reader never sees half of it, and at most once in `every`
    seconds. Its fields: state (running or ended), stage, texts {total, done}, tokens, tokens_per_second, seconds,
    seconds_left (null while unknown), waits (what requests to a server wait for, null if nothing), note (the last
    one), error (why the run stopped before its end) and spend (null without a server: answers, tokens and US dollars
    of all runs so far). Counts of tokens and seconds are of this process; tokens include those of texts under way.
    """

    def __init__(self, inner: Progress, directory: Path, every: float = 1.0, clock: Clock = time.monotonic):
        self._inner, self._path, self._every, self._clock = inner, directory / "status.json", every, clock
        self.tally: Tally | None = None
        """The counts of the stage that is under way."""
        self._note: str | None = None
        self._error: str | None = None
        self._waits: str | None = None
        self._spend: Spend | None = None
        self._written = 0.0

    def start(self, total: int, done: int, description: str) -> None:
        """Begin a stage."""
        self._inner.start(total, done, description)
        self.tally = Tally(total, done, description, self._clock)
        self._write("running")

    def advance(self, texts: int, tokens: int) -> None:
        """Count, and write if the last writing is long enough ago."""
        self._inner.advance(texts, tokens)
        if self.tally is not None:
            self.tally.add(texts, tokens)
            self._write_if_due()

    def writing(self, tokens: int) -> None:
        """Count, and write if the last writing is long enough ago."""
        self._inner.writing(tokens)
        if self.tally is not None:
            self.tally.writing(tokens)
            self._write_if_due()

    def spent(self, spend: Spend) -> None:
        """Pass it on and keep it for the next writing."""
        self._inner.spent(spend)
        self._spend = spend

    def waits(self, line: str | None) -> None:
        """Pass it on, and write it if the last writing is long enough ago."""
        self._inner.waits(line)
        self._waits = line
        if self.tally is not None and (line is None or self._clock() - self._written >= self._every):
            self._write("running")

    def note(self, line: str) -> None:
        """Pass the line on and keep it for the next writing."""
        self._inner.note(line)
        self._note = line

    def failed(self, error: BaseException) -> None:
        """Keep why the run stops before its end for the last writing."""
        self._error = str(error) or type(error).__name__

    def finish(self) -> None:
        """Write the last counts with the state `ended`."""
        self._inner.finish()
        if self.tally is not None:
            self._write("ended")
        self.tally = None

    def _write_if_due(self) -> None:
        if self._clock() - self._written >= self._every:
            self._write("running")

    def _write(self, state: str) -> None:
        assert self.tally is not None
        self._written = self._clock()
        tally = self.tally
        content = {
            "state": state,
            "stage": tally.description,
            "texts": {"total": tally.total, "done": tally.done},
            "tokens": tally.written,
            "tokens_per_second": round(tally.tokens_per_second, 1),
            "seconds": round(tally.seconds, 1),
            "seconds_left": None if tally.seconds_left is None else round(tally.seconds_left, 1),
            "waits": self._waits if state == "running" else None,
            "note": self._note,
            "error": self._error,
            "spend": None if self._spend is None else self._spend.facts(),
        }
        # A file that nobody depends on must not stop a run, nor hide what did: a full disk is met by the data too.
        with suppress(LatentextError), atomic_file(self._path) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")


@runtime_checkable
class Display(Protocol):
    """What watches the phases of a command, and shows its stages too: one display, not two."""

    def progress_on(self, stream: TextIO) -> Progress | None:
        """The progress that belongs to this stream; None where another stream is watched."""
        ...


def progress_for(stream: TextIO) -> Progress:
    """The progress that suits where messages go: a bar on a terminal, else plain lines."""
    if isinstance(display := watcher(), Display) and (found := display.progress_on(stream)) is not None:
        return found
    if not stream.isatty():
        return LineProgress(stream)
    from rich.console import Console

    from latentext.run.live import RichProgress

    return RichProgress(Console(file=stream))
