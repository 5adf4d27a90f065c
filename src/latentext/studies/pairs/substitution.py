"""Pairs without any model: frames of a word bank, filled with word pairs that are one token everywhere.

All frames are tried with all word pairs of their slot, and what the validator does not accept under every tokenizer is
left out before anything is chosen. From the rest a set is drawn that is even: topic after topic in turn, and within a
topic always the words and the frame that were used least. Ties are broken by the seed, so the same seed, bank and
tokenizers give the same set.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from latentext.errors import SpecError
from latentext.studies.pairs.bank import WordBank, WordCandidate
from latentext.studies.pairs.checks import PairCheck
from latentext.studies.pairs.scenario import Scenario
from latentext.studies.pairs.task import PairTask
from latentext.studies.pairs.tokenizer import PairTokenizer
from latentext.studies.pairs.validation import validate_pairs

MAX_FRAME_SHARE = 0.05
"""No frame makes up more of a set."""
MAX_WORD_SHARE = 0.02
"""No word stands in more of a set."""


@dataclass(frozen=True, slots=True)
class Screened:
    """A candidate that is valid, with what the validator found."""

    candidate: WordCandidate
    check: PairCheck


def substitute(
    task: PairTask, bank: WordBank, tokenizers: Sequence[PairTokenizer], count: int, *, seed: int = 0
) -> list[Scenario]:
    """Make `count` valid scenarios, balanced over topics, words and frames.

    Args:
        task: gives the forms.
        bank: frames and words of the same task.
        tokenizers: every pair is one differing token under each of them.
        count: scenarios wanted.
        seed: decides between candidates that are equally good for the balance.

    Raises:
        SpecError: the bank belongs to another task, or has too little for so many scenarios under these tokenizers.

    Example:
        >>> from latentext.studies.pairs import load_bank, load_task, load_tokenizers
        >>> tokenizers = load_tokenizers(["tiny"])                                          # doctest: +SKIP
        >>> substitute(load_task("refusal"), load_bank("refusal"), tokenizers, 10)          # doctest: +SKIP
    """
    if bank.task_name != task.task_name:
        raise SpecError(f"the bank is for the task {bank.task_name!r}, not {task.task_name!r}", remedy="name its bank")
    chosen = choose(screen(task, bank, tokenizers), count, seed=seed)
    return [
        Scenario(number, task.task_name, found.check.texts, found.candidate.topic, found.check.checks)
        for number, found in enumerate(chosen)
    ]


def screen(task: PairTask, bank: WordBank, tokenizers: Sequence[PairTokenizer]) -> list[Screened]:
    """The candidates whose words are one token each, in their place, in every form under every tokenizer."""
    candidates = list(bank.candidates())
    checks = validate_pairs((candidate.tasks for candidate in candidates), tokenizers, task.forms)
    return [
        Screened(candidate, check)
        for candidate, check in zip(candidates, checks, strict=True)
        if check.valid and _words_are_tokens(candidate, check)
    ]


def _words_are_tokens(candidate: WordCandidate, check: PairCheck) -> bool:
    """A pair can be valid although its words are cut ("bak" + "ing"); then it would not be one word that differs."""
    found = {(first.strip(), second.strip()) for form in check.checks for first, second in form.tokens}
    return found == {candidate.words}


def choose(screened: Sequence[Screened], count: int, *, seed: int = 0) -> list[Screened]:
    """An even selection: least used topic, then least used words, then least used frame; caps as above.

    In sets so small that the caps would be less than one, each word and frame may still stand once.

    Raises:
        SpecError: the caps or the candidates do not allow so many.
    """
    chosen = _draw(screened, count, seed)
    if len(chosen) == count:
        return chosen
    possible = len(chosen)
    # The caps are shares of the set, so a smaller set has smaller ones: what was drawn may itself be too many.
    while possible and (drawn := len(_draw(screened, possible, seed))) < possible:
        possible = drawn
    raise SpecError(
        f"{count} scenarios cannot be made, only {possible}: {len(screened)} sentences passed the tokenizers, and no "
        f"frame may make up more than {MAX_FRAME_SHARE:.0%} of a set and no word more than {MAX_WORD_SHARE:.0%}",
        where="word bank",
        remedy=f"ask for {possible}, add words and frames to the bank, or check fewer tokenizers",
    )


def _draw(screened: Sequence[Screened], count: int, seed: int) -> list[Screened]:
    """As many as the caps of a set of `count` allow."""
    order = random.Random(seed)
    stocks: dict[str, list[Screened]] = {}
    for found in screened:
        stocks.setdefault(found.candidate.topic, []).append(found)
    for stock in stocks.values():
        order.shuffle(stock)
    topics = list(stocks)
    order.shuffle(topics)
    usage = _Usage(max(1, int(count * MAX_FRAME_SHARE)), max(1, int(count * MAX_WORD_SHARE)))
    chosen: list[Screened] = []
    while len(chosen) < count and topics:
        topic = min(topics, key=usage.topics.__getitem__)
        place = usage.best([found.candidate for found in stocks[topic]])
        if place is None:
            topics.remove(topic)
            continue
        found = stocks[topic].pop(place)
        usage.take(found.candidate)
        chosen.append(found)
    return chosen


@dataclass(frozen=True, slots=True)
class _Usage:
    """How often each topic, frame and word stands in the set so far."""

    max_frame: int
    max_word: int
    topics: Counter[str] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)

    def best(self, candidates: Iterable[WordCandidate]) -> int | None:
        """The place of the candidate whose words, then frame, were used least; None if the caps forbid all."""
        open_places = [
            (max(self.words[word] for word in candidate.words), self.frames[candidate.frame], place)
            for place, candidate in enumerate(candidates)
            if self.frames[candidate.frame] < self.max_frame
            and all(self.words[word] < self.max_word for word in candidate.words)
        ]
        return min(open_places)[-1] if open_places else None

    def take(self, candidate: WordCandidate) -> None:
        self.topics[candidate.topic] += 1
        self.frames[candidate.frame] += 1
        self.words.update(candidate.words)
