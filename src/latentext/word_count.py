"""Lengths in words as spaCy's blank English tokenizer cuts them (extra `complete`): punctuation counts.

This is the measure by which the original comparison gave its length limits, so limits here mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from latentext.errors import SpecError


def count_words(texts: Iterable[str]) -> list[int]:
    """The number of spaCy-blank tokens of each text.

    Raises:
        SpecError: spaCy is not installed.

    Example:
        >>> count_words(["A: isn't it?", ""])
        [6, 0]
    """
    tokenizer = _tokenizer()
    return [len(tokenizer(text)) for text in texts]


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    try:
        import spacy
    except ImportError:
        raise SpecError("lengths in words need spaCy", remedy="pip install 'latentext[complete]'") from None
    return spacy.blank("en").tokenizer


@dataclass(frozen=True, slots=True)
class WordStatistics:
    """How long texts are: `texts` of them, from `fewest` to `most` words; `words` and `tokens` in all.

    `tokens` are a model's, None where no tokenizer was asked.
    """

    texts: int
    fewest: int
    most: int
    words: int
    tokens: int | None = None

    @property
    def mean(self) -> float:
        return self.words / self.texts

    @property
    def tokens_per_word(self) -> float | None:
        """Model tokens a word over all texts, to four digits."""
        return None if self.tokens is None or not self.words else round(self.tokens / self.words, 4)


def measure_words(texts: Sequence[str], tokenizer: Any = None) -> WordStatistics:
    """Count texts in words and, given a model's tokenizer, in its tokens.

    Raises:
        SpecError: there are none, or spaCy is not installed.

    Example:
        >>> measure_words(["One two three.", "Four."])
        WordStatistics(texts=2, fewest=2, most=4, words=6, tokens=None)
    """
    if not texts:
        raise SpecError("there are no human texts to measure", remedy="check the corpus, or give length.min and max")
    counts = count_words(texts)
    tokens = None
    if tokenizer is not None:
        tokens = sum(len(ids) for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"])
    return WordStatistics(len(texts), min(counts), max(counts), sum(counts), tokens)


def token_limits(fewest: int, most: int, tokens_per_word: float) -> tuple[int, int]:
    """Limits in words as limits in model tokens, the end token beside: no text of a legal length is cut by rounding.

    Example:
        >>> token_limits(4, 112, 1.25)
        (5, 141)
    """
    return math.floor(fewest * tokens_per_word), math.ceil(most * tokens_per_word) + 1
