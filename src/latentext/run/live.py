"""What a terminal shows while something is under way: a bar for a stage, and the phase that the work is in.

Both are one region at the end of the screen, which is drawn anew ten times a second and leaves nothing behind but the
bar of a stage that has ended.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from latentext.engines.server.spend import Spend
from latentext.phases import Phase, seconds_at_work
from latentext.run.tally import Clock, Tally, in_words


class RichProgress:
    """A moving region on a terminal: bar, texts done, tokens per second, time left; below, the phase.

    Args:
        console: writes to the terminal itself, whatever takes the place of the error stream meanwhile.
        phases: those that are under way, the innermost last; who gives the list keeps it up to date.
    """

    def __init__(
        self,
        console: Console | None = None,
        phases: Sequence[Phase] = (),
        clock: Clock = seconds_at_work,
    ):
        self._console = console or Console(file=sys.stderr)
        self._clock = clock
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._bar: Bar | None = None
        self._tally: Tally | None = None
        self._phases = phases
        self._before_stage = 0
        self._waits: str | None = None
        self._spinner = Spinner("dots")

    def start(self, total: int, done: int, description: str) -> None:
        """Draw the bar where the earlier runs left it."""
        self.finish()
        with self._lock:
            self._tally = Tally(total, done, description, self._clock)
            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rates]}", markup=False),
                console=self._console,
                auto_refresh=False,
            )
            self._bar.add_task(description, total=total, completed=done, rates="")
            self._before_stage = len(self._phases)
        self.show()

    def advance(self, texts: int, tokens: int) -> None:
        """Move the bar."""
        if self._tally is not None:
            self._tally.add(texts, tokens)

    def writing(self, tokens: int) -> None:
        """Show that texts are being written before the first is finished."""
        if self._tally is not None:
            self._tally.writing(tokens)

    def spent(self, spend: Spend) -> None:
        """Show it beside the bar."""
        if self._tally is not None:
            self._tally.spend = spend

    def waits(self, line: str | None) -> None:
        """Show below the bar what requests wait for. While nothing comes, the time left is not known."""
        self._waits = line
        with self._lock:
            if self._live is not None:
                self._live.refresh()

    def note(self, line: str) -> None:
        """Print the line above."""
        self._console.print(Text(line), soft_wrap=True)

    def finish(self) -> None:
        """Leave the bar where it stands."""
        with self._lock:
            self._waits = None
            bar, self._bar = self._drawn_bar(), None
            if bar is not None:
                self._console.print(bar)
            self._tally = None
            self._before_stage = 0
            if not self._phases:
                self.hide()

    def show(self) -> None:
        """Draw what is under way, again and again, until `hide`."""
        with self._lock:
            if self._live is None and (self._phases or self._bar is not None):
                self._live = Live(
                    get_renderable=self._drawn,
                    console=self._console,
                    refresh_per_second=10,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start(refresh=True)

    def hide(self) -> None:
        """Take it off the screen and give the cursor back, so that others can write; `show` brings it back."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
            self._live = None

    def _drawn(self) -> RenderableType:
        lines: list[RenderableType] = []
        if (bar := self._drawn_bar()) is not None:
            lines.append(bar)
        if (waits := self._waits) is not None:
            lines.append(Text(waits))
        if phases := self._phases[self._before_stage :]:
            lines.append(self._drawn_phases(phases))
        return Group(*lines)

    def _drawn_bar(self) -> RenderableType | None:
        bar, tally = self._bar, self._tally
        if bar is None or tally is None:  # The stage may end while another thread draws it.
            return None
        bar.update(bar.task_ids[0], completed=tally.done, rates="  ".join(tally.brief(waits=self._waits is not None)))
        return bar.make_tasks_table(bar.tasks)

    def _drawn_phases(self, phases: Sequence[Phase]) -> RenderableType:
        """All but the outermost, which is the command itself, if it says what it does."""
        line = Table.grid(padding=(0, 1))
        what = ": ".join(map(str, phases if self._before_stage else phases[1:] or phases))
        line.add_row(self._spinner, Text(what), Text(in_words(time.monotonic() - phases[0].begun)))
        return line
