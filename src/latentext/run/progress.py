"""What a run says while it works: a bar on a terminal, plain lines in a pipe, and `status.json` for other programs.

A runner knows only the five calls of `Progress`; who watches is decided by whoever starts it. Progress is for people
and never decides anything: what is done is read from the receipts, so a lost or stale `status.json` costs nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.text import Text

from latentext.dataset.atomic import atomic_file
from latentext.engines.openai.spend import Spend
from latentext.errors import LatentextError
from latentext.run.two_lines import TwoLines

Clock = Callable[[], float]
"""Seconds from any fixed point, such as `time.monotonic`."""


class Progress(Protocol):
    """What a runner tells its watcher. `start` may be called again for the next stage; `finish` ends the last one."""

    def start(self, total: int, done: int, description: str) -> None:
        """A stage begins; `done` of `total` texts are on disk from earlier runs."""

    def advance(self, texts: int, tokens: int) -> None:
        """So many more texts are done, with so many generated tokens; negative when a batch is taken back."""

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
        self.spent, self.waits = inner.spent, inner.waits

    def note(self, line: str) -> None:
        """Pass the line on unless it was passed on before."""
        if line not in self._noted:
            self._noted.add(line)
            self._inner.note(line)


class Tally:
    """Counts of one stage and the rates that follow from them.

    Rates are of this process only: texts found done at the start took no time now, and would make a continued run
    look faster than it is.
    """

    def __init__(self, total: int, done_before: int, description: str, clock: Clock = time.monotonic):
        self.total, self.done_before, self.description = total, done_before, description
        self.texts = self.tokens = 0
        self.spend: Spend | None = None
        self._clock, self._started = clock, clock()

    def add(self, texts: int, tokens: int) -> None:
        """Count finished texts and their generated tokens."""
        self.texts += texts
        self.tokens += tokens

    @property
    def done(self) -> int:
        """Texts done, those of earlier runs included."""
        return self.done_before + self.texts

    @property
    def seconds(self) -> float:
        """Seconds since the stage started in this process."""
        return self._clock() - self._started

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second; 0 before the first text."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end, from the mean time a text took; unknown before the first."""
        if not self.texts:
            return None
        return self.seconds / self.texts * max(0, self.total - self.done)

    def __str__(self) -> str:
        parts = [f"{self.description}: {self.done:,} of {self.total:,}"]
        if self.tokens:
            parts.append(f"{self.tokens:,} tokens, {self.tokens_per_second:,.0f} tokens/s")
        if self.spend is not None and self.spend.answers:
            parts.append(f"spent in all {self.spend}")
        if self.seconds_left:
            parts.append(f"about {in_words(self.seconds_left)} left")
        return ", ".join(parts)


def in_words(seconds: float) -> str:
    """A duration as a person says it.

    Example:
        >>> in_words(42), in_words(200), in_words(8000)
        ('42 s', '3 min', '2.2 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LineProgress:
    """Plain lines, at most one every `every` seconds: readable in a log file, and no control characters."""

    def __init__(self, stream: TextIO | None = None, every: float = 5.0, clock: Clock = time.monotonic):
        self._stream, self._every, self._clock = stream or sys.stderr, every, clock
        self._tally: Tally | None = None
        self._last_line, self._waits = 0.0, False

    def start(self, total: int, done: int, description: str) -> None:
        """Print where the stage starts."""
        self.finish()
        self._tally = Tally(total, done, description, self._clock)
        self._print_tally()

    def advance(self, texts: int, tokens: int) -> None:
        """Print the counts if the last line is long enough ago."""
        if self._tally is None:
            return
        self._tally.add(texts, tokens)
        if self._clock() - self._last_line >= self._every:
            self._print_tally()

    def spent(self, spend: Spend) -> None:
        """Say it in the next line."""
        if self._tally is not None:
            self._tally.spend = spend

    def waits(self, line: str | None) -> None:
        """Print the line when the waiting begins, and then if the last one is long enough ago."""
        if line is None:
            self._waits = False
        elif self._tally is not None and (not self._waits or self._clock() - self._last_line >= self._every):
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

    def _print_tally(self) -> None:
        self._last_line = self._clock()
        self.note(str(self._tally))


class RichProgress:
    """One moving line on a terminal: bar, texts done, tokens a second, time left."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._bar: TwoLines | None = None
        self._tally: Tally | None = None

    def start(self, total: int, done: int, description: str) -> None:
        """Draw the bar where the earlier runs left it."""
        self.finish()
        self._tally = Tally(total, done, description)
        self._bar = TwoLines(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}", markup=False),
            console=self._console,
        )
        self._bar.add_task(description, total=total, completed=done, rates="")
        self._bar.start()

    def advance(self, texts: int, tokens: int) -> None:
        """Move the bar."""
        if self._bar is None or self._tally is None:
            return
        self._tally.add(texts, tokens)
        rates = f"{self._tally.tokens_per_second:,.0f} tokens/s" if self._tally.tokens else ""
        if self._tally.spend is not None and self._tally.spend.answers:
            rates = f"{self._tally.spend}"
        if self._tally.seconds_left:
            rates += f"  {in_words(self._tally.seconds_left)} left"
        self._bar.update(self._bar.task_ids[0], completed=self._tally.done, rates=rates)

    def spent(self, spend: Spend) -> None:
        """Draw it with the next text."""
        if self._tally is not None:
            self._tally.spend = spend

    def waits(self, line: str | None) -> None:
        """Draw the line below the bar."""
        if (bar := self._bar) is not None:
            bar.below = line or ""
            if line is not None:  # While nothing comes, the time left is not known.
                spend = self._tally.spend if self._tally is not None else None
                bar.update(bar.task_ids[0], rates=f"{spend}" if spend is not None and spend.answers else "")
            bar.refresh()

    def note(self, line: str) -> None:
        """Print the line above the bar."""
        self._console.print(Text(line), soft_wrap=True)

    def finish(self) -> None:
        """Leave the bar where it stands and give the cursor back."""
        if self._bar is not None:
            self._bar.below = ""
            self._bar.stop()
        self._bar = self._tally = None


class StatusFile:
    """Passes everything on to another progress and keeps `status.json` in the dataset directory up to date.

    The file is written whole and renamed, so that a reader never sees half of it, and at most once in `every`
    seconds. Its fields: state (running or ended), stage, texts {total, done}, tokens, tokens_per_second, seconds,
    seconds_left (null while unknown), waits (what requests to a server wait for, null if nothing), note (the last
    one), error (why the run stopped before its end) and spend (null without a server: answers, tokens and US dollars
    of all runs so far). Counts of tokens and seconds are of this process.
    """

    def __init__(self, inner: Progress, directory: Path, every: float = 1.0, clock: Clock = time.monotonic):
        self._inner, self._path, self._every, self._clock = inner, directory / "status.json", every, clock
        self._tally: Tally | None = None
        self._note: str | None = None
        self._error: str | None = None
        self._waits: str | None = None
        self._spend: Spend | None = None
        self._written = 0.0

    def start(self, total: int, done: int, description: str) -> None:
        """Begin a stage."""
        self._inner.start(total, done, description)
        self._tally = Tally(total, done, description, self._clock)
        self._write("running")

    def advance(self, texts: int, tokens: int) -> None:
        """Count, and write if the last writing is long enough ago."""
        self._inner.advance(texts, tokens)
        if self._tally is None:
            return
        self._tally.add(texts, tokens)
        if self._clock() - self._written >= self._every:
            self._write("running")

    def spent(self, spend: Spend) -> None:
        """Pass it on and keep it for the next writing."""
        self._inner.spent(spend)
        self._spend = spend

    def waits(self, line: str | None) -> None:
        """Pass it on, and write it if the last writing is long enough ago."""
        self._inner.waits(line)
        self._waits = line
        if self._tally is not None and (line is None or self._clock() - self._written >= self._every):
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
        if self._tally is not None:
            self._write("ended")
        self._tally = None

    def _write(self, state: str) -> None:
        assert self._tally is not None
        self._written = self._clock()
        tally = self._tally
        content = {
            "state": state,
            "stage": tally.description,
            "texts": {"total": tally.total, "done": tally.done},
            "tokens": tally.tokens,
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


def progress_for(stream: TextIO) -> Progress:
    """The progress that suits where messages go: a bar on a terminal, else plain lines."""
    return RichProgress(Console(file=stream)) if stream.isatty() else LineProgress(stream)
