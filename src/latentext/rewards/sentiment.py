"""Sentiment by VADER: a published lexicon with rules for negation, emphasis and capitals; no model, no network.

Source: Hutto and Gilbert 2014, "VADER: A parsimonious rule-based model for sentiment analysis of social media text".
An empty continuation has sentiment 0, VADER's own neutral.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from latentext.rewards.candidate import Candidate
from latentext.rewards.functions import reward


@reward("sentiment", version=f"vaderSentiment {version('vaderSentiment')}")
def sentiment(candidate: Candidate) -> float:
    """VADER's compound score of the continuation, from -1 (most negative) to 1.

    Example:
        >>> sentiment(Candidate("The film was", " wonderful!")) > 0 > sentiment(Candidate("The film was", " awful."))
        True
    """
    return float(_analyzer().polarity_scores(candidate.text)["compound"])


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    """The lexicon is read once a process: that takes longer than a hundred texts."""
    return SentimentIntensityAnalyzer()
