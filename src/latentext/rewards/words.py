"""Word-list rewards: how much of a text are words that the user named."""

from __future__ import annotations

from latentext.rewards.candidate import Candidate
from latentext.rewards.entries import WordsReward
from latentext.rewards.texts import words_of


def score_words(reward: WordsReward, candidate: Candidate) -> float:
    """Sum of the weights of the listed words in the continuation, a word or a text; an empty continuation scores 0.

    Example:
        >>> polite = WordsReward(name="polite", words={"please": 1, "damn": -2})
        >>> score_words(polite, Candidate("", "Please, please go!"))
        0.6666666666666666
    """
    words = [word.casefold() for word in words_of(candidate.text)]
    total = sum(reward.words.get(word, 0.0) for word in words)
    return total / len(words) if reward.per == "word" and words else total
