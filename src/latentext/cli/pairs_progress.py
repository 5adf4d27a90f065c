"""What ``latentext pairs generate`` says while it works: a live display on a terminal, a line a round in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from latentext.engines.server.spend import Spend
from latentext.run.progress import EachNoteOnce, LineProgress, Progress
from latentext.run.tally import Clock, in_words

if TYPE_CHECKING:
    from latentext.studies.pairs.proposing import Harvest
    from latentext.studies.pairs.rounds import Round


OnRound = Callable[["Harvest", Sequence["Round"]], None]


@dataclass
class Standing:
    """How far a run of proposals is; `str` says it in one line.

    Attributes:
        target, done: scenarios wanted, and those that there are.
        rounds, requests, valid, asked, lately: of the rounds whose answers are judged; `asked` counts pairs, `lately`
            is the yield of the newest.
        spend: of all runs so far; None where no server is asked.
    """

    target: int
    clock: Clock = time.monotonic
    done: int = 0
    rounds: int = 0
    requests: int = 0
    valid: int = 0
    asked: int = 0
    lately: float | None = None
    spend: Spend | None = None
    _found: int | None = None
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def judged(self, harvest: Harvest, history: Sequence[Round]) -> None:
        """Take in what another round gave."""
        from latentext.studies.pairs.rounds import recent_yield

        self.done, self.valid, self.rounds = len(harvest.scenarios), harvest.valid, len(history)
        self.requests, self.asked = sum(r.requests for r in history), sum(r.asked for r in history)
        self.lately = recent_yield(history)
        if self._found is None:
            self._found = self.done  # The first round of a continued run was there before.

    @property
    def seconds_left(self) -> float | None:
        """At the pace of this process; unknown before its first new scenario, of no interest at the end."""
        if self._found is None or self.done <= self._found or self.done >= self.target:
            return None
        return (self.clock() - self._started) / (self.done - self._found) * max(0, self.target - self.done)

    def parts(self) -> list[str]:
        """Valid pairs, yield, tokens and money, time left: what is known of them."""
        parts = []
        if self.asked:
            lately = "" if self.lately is None else f", lately {self.lately:.0%}"
            parts += [f"{self.valid:,} valid", f"yield {self.valid / self.asked:.0%}{lately}"]
        if self.spend is not None and self.spend.answers:
            parts.append(str(self.spend))
        if (left := self.seconds_left) is not None:
            parts.append(f"about {in_words(left)} left")
        return parts

    def __str__(self) -> str:
        done = f"round {self.rounds}: {self.done:,} of {self.target:,} scenarios, {self.requests:,} requests"
        return ", ".join([done, *self.parts()])


class ProposalPanel:
    """Two moving lines for all rounds: scenarios and requests done, and below what `Standing` knows."""

    def __init__(self, console: Console, standing: Standing):
        self._console, self._standing = console, standing
        self._answered = self._wanted = 0
        self._waits: str | None = None
        self._bar = TwoLines(
            TextColumn("scenarios"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rest]}", markup=False),
            console=console,
        )
        self._task = self._bar.add_task("scenarios", total=standing.target, rest="")

    def start(self, total: int, done: int, description: str) -> None:
        """A round begins: so many requests in all, so many answered before."""
        self._answered, self._wanted = done, total
        self._bar.start()
        self._draw()

    def advance(self, texts: int, tokens: int) -> None:
        """So many more requests are answered."""
        self._answered += texts
        self._draw()

    def writing(self, tokens: int) -> None:
        """Nothing: requests are counted here."""

    def spent(self, spend: Spend) -> None:
        """So much was spent in all."""
        self._standing.spend = spend
        self._draw()

    def waits(self, line: str | None) -> None:
        """Draw what requests wait for below the bar."""
        self._waits = line
        self._draw()

    def note(self, line: str) -> None:
        """Print the line above."""
        self._console.print(Text(line), soft_wrap=True)

    def finish(self) -> None:
        """A round ends; the line stays for the next."""

    def judged(self, harvest: Harvest, history: Sequence[Round]) -> None:
        """Show what another round gave."""
        self._standing.judged(harvest, history)
        self._draw()

    def close(self) -> None:
        """Leave the line where it stands and give the cursor back."""
        self._bar.stop()

    def _draw(self) -> None:
        rest = f"{self._answered:,} of {self._wanted:,} requests"
        self._bar.below = self._waits or "  ".join(self._standing.parts())
        self._bar.update(self._task, completed=self._standing.done, rest=rest)


@contextmanager
def watching(stream: TextIO, target: int, spent: Callable[[], Spend | None]) -> Iterator[tuple[Progress, OnRound]]:
    """Who watches a run, and who is told of each round: a live display on a terminal, else plain lines.

    Args:
        spent: what the journal has counted, for lines that are printed between two rounds.
    """
    standing = Standing(target)
    if not stream.isatty():
        progress = EachNoteOnce(LineProgress(stream))

        def say(harvest: Harvest, history: Sequence[Round]) -> None:
            standing.judged(harvest, history)
            standing.spend = spent()
            progress.note(str(standing))

        yield progress, say
        return
    panel = ProposalPanel(Console(file=stream), standing)
    try:
        yield EachNoteOnce(panel), panel.judged
    finally:
        panel.close()


class TwoLines(Bar):
    """A bar; `below` is the line, and there is none while it is empty."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bar's line, and the one below as soon as there is something to say."""
        yield self.make_tasks_table(self.tasks)
        if self.below:
            yield Text(self.below)
