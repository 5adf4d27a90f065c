"""The chats of a further round: what is asked, and what the model is told of the rounds before."""

from __future__ import annotations

from collections.abc import Sequence

from latentext.request import Message
from latentext.studies.pairs import PairTask
from latentext.studies.pairs.proposing import Harvest, lessons, proposal_messages
from latentext.studies.pairs.rounds import LESSONS_A_REQUEST, USED_WORDS_A_REQUEST


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
