"""Counts of one stage, and what follows from them: rates, and how long it will still take."""

from __future__ import annotations

from collections.abc import Callable

from latentext.engines.server.spend import Spend
from latentext.phases import seconds_at_work

Clock = Callable[[], float]
"""Seconds from any fixed point, such as `time.monotonic`."""

_FEWEST_TEXTS = 5
_SMALLEST_SHARE = 0.1
"""Texts, and their share of those that are to be done, from which on an estimate is worth something."""


class Tally:
    """Counts of one stage and the rates that follow from them.

    Rates are of this process only: texts found done at the start took no time now, and would make a continued run
    look faster than it is.
    """

    def __init__(self, total: int, done_before: int, description: str, clock: Clock = seconds_at_work):
        self.total, self.done_before, self.description = total, done_before, description
        self.texts = self.tokens = self.under_way = 0
        self.spend: Spend | None = None
        self._clock, self._started = clock, clock()

    def add(self, texts: int, tokens: int) -> None:
        """Count finished texts and their generated tokens."""
        self.texts += texts
        self.tokens += tokens

    def writing(self, tokens: int) -> None:
        """Count tokens of texts that are not finished."""
        self.under_way += tokens

    @property
    def done(self) -> int:
        """Texts done, those of earlier runs included."""
        return self.done_before + self.texts

    @property
    def written(self) -> int:
        """Tokens of finished texts and of those under way."""
        return self.tokens + self.under_way

    @property
    def seconds(self) -> float:
        """Seconds of work since the stage started in this process."""
        return self._clock() - self._started

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second; 0 before the first."""
        return self.written / self.seconds if self.written and self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """See `seconds_left`."""
        return seconds_left(self.seconds, self.texts, self.tokens, self.under_way, self.total - self.done_before)

    def brief(self, *, waits: bool = False) -> list[str]:
        """What fits beside a bar: money where there is some, else the rate; and the time left, unless the run waits."""
        parts = []
        if self.spend is not None and self.spend.answers:
            parts.append(str(self.spend))
        elif self.written:
            parts.append(f"{self.written:,} tokens, {self.tokens_per_second:,.0f}/s")
        if self.seconds_left and not waits:
            parts.append(f"{in_words(self.seconds_left)} left")
        return parts

    def parts(self) -> list[str]:
        """Tokens and their rate, money, time left: what is known of them."""
        parts = []
        if self.written:
            parts.append(f"{self.written:,} tokens, {self.tokens_per_second:,.0f} tokens/s")
        if self.spend is not None and self.spend.answers:
            parts.append(f"spent in all {self.spend}")
        if self.seconds_left:
            parts.append(f"about {in_words(self.seconds_left)} left")
        return parts

    def __str__(self) -> str:
        return ", ".join([f"{self.description}: {self.done:,} of {self.total:,}", *self.parts()])


def seconds_left(seconds: float, texts: int, tokens: int, under_way: int, to_do: int) -> float | None:
    """How long the rest of a stage takes, or None while nobody can know.

    The texts that are finished first are the short ones. So tokens are counted, and nothing is said before the
    finished texts are a tenth of the work and hold half of all tokens that were written. What is still to write is
    then between two bounds. If the texts that are left were as long as the finished ones: that, less what is written
    of them. If lengths were distributed exponentially, with the texts under way censored, a text that is left would
    take as many tokens as were written per finished text, however much of it there is. The mean of both is taken.
    When the texts that are left are longer already than the finished ones, nothing is known of their end.

    Args:
        seconds: of work so far, by this process.
        texts, tokens: finished by this process; tokens 0 where none are written, as in a replay.
        under_way: tokens of texts that are not finished.
        to_do: texts that were to do when this process began.

    Example:
        >>> seconds_left(10, texts=20, tokens=500, under_way=0, to_do=40)
        10.0
        >>> seconds_left(10, texts=20, tokens=500, under_way=2000, to_do=4000) is None
        True
    """
    left = to_do - texts
    if texts < max(1, min(_FEWEST_TEXTS, to_do / 2), _SMALLEST_SHARE * to_do) or under_way > tokens:
        return None
    if not tokens:
        return seconds / texts * max(0, left)
    written, least = tokens + under_way, left * tokens / texts - under_way
    if least <= 0:
        return None
    return seconds / written * (least + left * written / texts) / 2


def in_words(seconds: float) -> str:
    """A duration as a person says it.

    Example:
        >>> in_words(42), in_words(200), in_words(8000)
        ('42 s', '3 min', '2.2 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
