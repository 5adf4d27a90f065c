"""How many requests the next round has, and when it is enough.

Asking everything at once would forgo what the failures teach, and asking one by one would take for ever. So rounds
begin small and double, the last ones ask for no more than is missing at the yield seen so far, and when hardly anything
comes of them, they end. All of it follows from the answers of earlier rounds, so a killed run goes on with the same
requests.

`round_chats` are the chats of a round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latentext.request import Message
from latentext.studies.pairs import PairTask
from latentext.studies.pairs.proposing import Harvest, Yield, lessons, proposal_messages

FIRST_REQUESTS = 16
MOST_REQUESTS = 64
"""Of a round, unless an eighth of what is missing is more."""
EXPECTED_YIELD = 0.3
"""Valid pairs of those asked for, before any answer is known; weighs as much as `EXPECTED_WEIGHT` requests."""
EXPECTED_WEIGHT = 4
MINIMUM_YIELD = 0.02
"""Default of the floor: under it a run ends."""
JUDGED_PAIRS = 200
"""The floor is held against the newest rounds that asked for at least so many pairs together."""


LESSONS_A_REQUEST = 5
USED_WORDS_A_REQUEST = 12
"""From the second round on, what a request says of the rounds before."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round asked and got."""

    requests: int
    pairs_each: int
    got: Yield

    @property
    def asked(self) -> int:
        """Pairs asked for."""
        return self.requests * self.pairs_each


def next_round(history: Sequence[Round], valid: int, target: int, pairs_each: int) -> int:
    """Requests of the next round.

    Example:
        >>> next_round([], 0, 1500, 10), next_round([], 0, 4, 10)
        (16, 2)
        >>> next_round([Round(16, 10, Yield(150, 140, 48))], 48, 1500, 10)
        32
    """
    needed = needed_requests(history, valid, target, pairs_each)
    most = 2 * history[-1].requests if history else FIRST_REQUESTS
    return max(1, min(needed, most, max(MOST_REQUESTS, needed // 8)))


def needed_requests(history: Sequence[Round], valid: int, target: int, pairs_each: int) -> int:
    """Requests that what is missing takes, at the yield so far.

    Example:
        >>> needed_requests([Round(500, 10, Yield(4800, 4500, 1200))], 1200, 1500, 10)
        125
    """
    requests = sum(round.requests for round in history)
    each = (valid + EXPECTED_YIELD * pairs_each * EXPECTED_WEIGHT) / (requests + EXPECTED_WEIGHT)
    return max(1, math.ceil((target - valid) / each))


def recent_yield(history: Sequence[Round]) -> float | None:
    """Valid new pairs of those asked for in the newest rounds; None while too little was asked to tell.

    Example:
        >>> recent_yield([Round(16, 10, Yield(150, 140, 48))]) is None
        True
        >>> recent_yield([Round(16, 10, Yield(150, 140, 48)), Round(24, 10, Yield(200, 190, 60))])
        0.25
    """
    asked = valid = 0
    for round in reversed(history):
        asked, valid = asked + round.asked, valid + round.got.valid
        if asked >= JUDGED_PAIRS:
            return valid / asked
    return None


def round_chats(
    task: PairTask, harvest: Harvest, numbers: range, *, seed: int, pairs_each: int
) -> list[Sequence[Message]]:
    """The chats with these numbers: new topics and words, lessons from the pairs that failed, words to avoid.

    Args:
        harvest: of all answers so far; its newest portion gives the lessons.
        numbers: which requests of the run they are.
        pairs_each: pairs asked for in a request.
    """
    learnt = lessons(harvest.rejected, LESSONS_A_REQUEST * len(numbers))
    used = harvest.used_words(USED_WORDS_A_REQUEST)
    return [
        proposal_messages(task, number, seed=seed, pairs=pairs_each, lessons=_share(learnt, place), used_words=used)
        for place, number in enumerate(numbers)
    ]


def _share(learnt: Sequence[str], place: int) -> Sequence[str]:
    """The lessons of one request of a round: the requests go through all of them in turn."""
    if len(learnt) <= LESSONS_A_REQUEST:
        return learnt
    start = place * LESSONS_A_REQUEST
    return [learnt[(start + step) % len(learnt)] for step in range(LESSONS_A_REQUEST)]
