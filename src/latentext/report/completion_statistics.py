"""What texts look like in numbers: lengths, vocabulary, repetition, and the phrases that give assistants away.

All are of words as ``\\w+`` finds them in lower case, except lengths, which are spaCy-blank tokens like the limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

NGRAM = 3
WINDOW = 100
"""Words over which the type–token ratio is taken: of longer texts it would fall with length alone."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")

_BOILERPLATE = re.compile(
    r"""^\W*(?:
        (?:sure|certainly|absolutely|of\ course|okay|ok|great)\b[^.!:\n]{0,80}[.!:,]
      | here(?:'s|’s|\ is|\ are)\b[^.\n]{0,120}:
      | (?:the\ following|below)\ (?:is|are)\b[^.\n]{0,120}:
      | (?:as\ an\ ai|as\ a\ language\ model)\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_REFUSAL = re.compile(
    r"""\b(?:
        i\ (?:can(?:no|['’])t|am\ (?:not\ able|unable)\ to|won['’]t|will\ not)
          \ (?:help|assist|provide|write|create|comply|continue|fulfil|generate|respond|answer)
      | i(?:['’]m|\ am)\ sorry,?\ (?:but\ (?:i|as)\b|i\ can(?:no|['’])t)
      | as\ an\ ai(?:\ language)?\ model
      | i\ (?:do\ not|don['’]t)\ feel\ comfortable
      | i\ must\ decline
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_BEGINNING = 200
"""Characters in which a refusal is looked for: further on, a figure of a story may refuse something."""


@dataclass(frozen=True)
class TextStatistics:
    """Of a group of texts.

    Attributes:
        texts: how many.
        words: of each text, in spaCy-blank tokens.
        types: different words over all texts.
        type_token_ratio: different words in every 100, on average over whole windows; NaN where no text has 100 words.
        repeated_ngrams: share of the 3-grams of a text that stand in it before, over all texts.
        boilerplate: share of texts that begin like "Sure, here is".
        refusals: share of texts that begin by refusing.
        cut: share of texts that were cut at the limit of tokens.
    """

    texts: int
    words: Sequence[int]
    types: int
    type_token_ratio: float
    repeated_ngrams: float
    boilerplate: float
    refusals: float
    cut: float


def describe_texts(texts: Sequence[str], words: Sequence[int], cut: Sequence[bool] | None = None) -> TextStatistics:
    """Count a group of texts; `words` are their lengths, `cut` which of them were cut.

    Example:
        >>> found = describe_texts(["Sure, here is a poem: a rose is a rose is a rose"], [15])
        >>> found.types, round(found.repeated_ngrams, 2), found.boilerplate, found.refusals
        (6, 0.27, 1.0, 0.0)
    """
    tokens = [words_of(text) for text in texts]
    count = len(texts)
    return TextStatistics(
        texts=count,
        words=list(words),
        types=len({word for text in tokens for word in text}),
        type_token_ratio=type_token_ratio(tokens),
        repeated_ngrams=repeated_share(tokens),
        boilerplate=sum(begins_with_boilerplate(text) for text in texts) / count if count else 0.0,
        refusals=sum(is_refusal(text) for text in texts) / count if count else 0.0,
        cut=sum(cut) / count if cut and count else 0.0,
    )


def words_of(text: str) -> list[str]:
    """Words in lower case, without punctuation.

    Example:
        >>> words_of("Don't go – A1!")
        ["don't", 'go', 'a1']
    """
    return [word.lower() for word in _WORD.findall(text)]


def type_token_ratio(texts: Iterable[Sequence[str]]) -> float:
    """Mean share of different words in windows of 100 words that follow each other within a text.

    Source: the mean segmental type–token ratio, W. Johnson, Studies in Language Behavior (1944).

    Example:
        >>> type_token_ratio([["a", "b"] * 50]), type_token_ratio([["too", "short"]])
        (0.02, nan)
    """
    ratios = [
        len(set(text[start : start + WINDOW])) / WINDOW
        for text in texts
        for start in range(0, len(text) - WINDOW + 1, WINDOW)
    ]
    return float(np.mean(ratios)) if ratios else float("nan")


def repeated_share(texts: Iterable[Sequence[str]], size: int = NGRAM) -> float:
    """The share of n-grams that stand earlier in the same text, over all texts; 0 where there are none.

    Example:
        >>> repeated_share([["a", "b", "c", "a", "b", "c"]])
        0.25
    """
    total = repeated = 0
    for text in texts:
        ngrams = [tuple(text[start : start + size]) for start in range(len(text) - size + 1)]
        total, repeated = total + len(ngrams), repeated + len(ngrams) - len(set(ngrams))
    return repeated / total if total else 0.0


def begins_with_boilerplate(text: str) -> bool:
    """Whether a text begins by talking about itself, as assistants do.

    Example:
        >>> [begins_with_boilerplate(t) for t in ("Sure, here is one:", "Here's a summary: x", "Sure enough he came")]
        [True, True, False]
    """
    return _BOILERPLATE.match(text) is not None


def is_refusal(text: str) -> bool:
    """Whether a text begins by refusing.

    Example:
        >>> is_refusal("I'm sorry, but I can't help with that."), is_refusal("I'm sorry I was late, he said.")
        (True, False)
    """
    return _REFUSAL.search(text[:_BEGINNING]) is not None
