"""Where sentences end, by their punctuation, and texts cut back to the last one that is full."""

from __future__ import annotations

import re

from latentext.finish_reasons import is_whole
from latentext.spec import LengthSpec

SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)")
""". ! ? or … with the quotes and brackets that close after it, before white space or the end of the text."""


def cut_to_sentence(text: str) -> str:
    """The text up to the end of its last full sentence; empty where none ends. Abbreviations pass for sentence ends.

    Example:
        >>> cut_to_sentence('He left. "Why?" she asked, and'), cut_to_sentence("No end in"), cut_to_sentence("Yes! ")
        ('He left. "Why?"', '', 'Yes!')
    """
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else ""


def completion_of(text: str, finish_reason: str, length: LengthSpec | None) -> str:
    """The completion that a text gives: under the policy ``sentence``, of a text cut at the limit, its full sentences.

    Example:
        >>> completion_of("He ran. Then he", "length", LengthSpec(policy="sentence"))
        'He ran.'
        >>> completion_of("He ran. Then he", "length", LengthSpec(policy="tokens"))
        'He ran. Then he'
    """
    if length is not None and length.policy == "sentence" and not is_whole(finish_reason):
        return cut_to_sentence(text)
    return text
