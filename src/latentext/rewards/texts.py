"""Rewards that need nothing but the text: length and diversity.

Rule for an empty continuation: its length is 0, and so is its diversity (a text that says nothing is not diverse).
"""

from __future__ import annotations

import re

from latentext.rewards.candidate import Candidate
from latentext.rewards.functions import reward

_WORD = re.compile(r"\w+(?:['’-]\w+)*", re.UNICODE)
_WORD_OR_MARK = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]", re.UNICODE)
_NGRAM_SIZES = (2, 3, 4)


def words_of(text: str) -> list[str]:
    """The words of a text, without punctuation.

    Example:
        >>> words_of("Don't panic: it's twenty-one!")
        ["Don't", 'panic', "it's", 'twenty-one']
    """
    return _WORD.findall(text)


@reward("length", version="1")
def length(candidate: Candidate) -> float:
    """Number of words of the continuation.

    Example:
        >>> length(Candidate("Say", " it twice."))
        2.0
    """
    return float(len(words_of(candidate.text)))


@reward("diversity", version="1")
def diversity(candidate: Candidate) -> float:
    """Product over n = 2, 3, 4 of the share of distinct n-grams among all n-grams of the continuation.

    Tokens are words and punctuation marks. 1 for a text without any repetition, 0 for one shorter than four tokens.

    Example:
        >>> diversity(Candidate("", "a b c d")), diversity(Candidate("", "a a a a"))
        (1.0, 0.16666666666666666)
    """
    tokens = _WORD_OR_MARK.findall(candidate.text)
    product = 1.0
    for size in _NGRAM_SIZES:
        distinct, total = _count_ngrams(tokens, size)
        product *= distinct / total if total else 0.0
    return product


@reward("diversity-full-text", version="1")
def diversity_full_text(candidate: Candidate) -> float:
    """As published with MAP: over prompt and continuation, every share taken of one n-gram more than there are.

    So a text of m tokens without repetition has (m-3)/m: longer texts score higher. Published values use NLTK's word
    tokenizer, which splits contractions; these differ from them by about 0.01.

    Example:
        >>> diversity_full_text(Candidate("a b", " c d"))
        0.25
    """
    tokens = _WORD_OR_MARK.findall(candidate.full_text)
    product = 1.0
    for size in _NGRAM_SIZES:
        distinct, total = _count_ngrams(tokens, size)
        product *= distinct / (total + 1)
    return product


def _count_ngrams(tokens: list[str], size: int) -> tuple[int, int]:
    """Distinct and all n-grams of a size."""
    ngrams = [tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)]
    return len(set(ngrams)), len(ngrams)
