"""Rendering a chat template without the sentences that tell the model what day it is.

Templates of the Llama 3 family print a knowledge cut-off and today's date into every prompt, so the same spec would
give other token ids tomorrow. Cutting known phrases out of the finished text would also cut them out of what a user
wrote. Here the template is rendered with its date bound to a sentinel that no text contains, phrases of the cut-off
line are masked in the messages meanwhile, and then exactly the sentences that the template itself wrote are dropped.
Most have a line of their own; Granite 3.3 writes its persona on the same line, which stays.

The sentinel and the masks are private-use characters, which `upper`, `capitalize` and `trim` leave alone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from latentext.request import Message

_CUTOFF = re.compile(r"(?:cutting knowledge date|knowledge cut-?off(?: date)?)(?=\s*:)", re.IGNORECASE)
_CUTOFF_LINE = re.compile(rf"\s*{_CUTOFF.pattern}\s*:", re.IGNORECASE)

_LINE = re.compile(r"[^\n]*\n|[^\n]+")

_FIRST = 0xE100
"""The first of 256 private-use characters, one a byte."""
_DIGIT, _DIGITS = f"[{chr(_FIRST)}-{chr(_FIRST + 255)}]", 4


def unguessable(length: int = 16) -> str:
    """Private-use characters that no text holds by chance: 8 bits each."""
    return "".join(chr(_FIRST + byte) for byte in secrets.token_bytes(length))


SENTINEL = unguessable()
"""Stands for the date in a rendering; new in every process, and never in what is returned."""

_SENTENCE_END = re.compile(r"(?<=[.!?])([ \t]+)(?=[^\W\d_a-z])")
"""The space between two sentences of a line: the next begins with a capital, or in a script without small letters."""

_COLON = r"(?:[^\W\d]\S*[ \t]+){0,4}[^\W\d]\S*[:\uff1a]"
_WORDS = r"(?:(?:today(?:['\u2019]s)?|the|current|date|time|day|is|it|now)[ \t]+){1,5}"
_DATE = re.compile(
    rf"[ \t]*(?:{_COLON}|{_WORDS})[ \t]*(?:{SENTINEL}[ \t,]*)+(?:\([^()\n]{{0,30}}\))?[ \t]*[.!]?[ \t]*", re.IGNORECASE
)
"""A label with a colon, or words for a date, and then the date: "Today Date: …", "The current date is … (UTC)."."""

# A variable given to `render` is reduced to plain data, so the function `strftime_now` is shadowed by a macro instead.
# The line break belongs to the macro's tag (trim_blocks), and leaves the template at the start of a line as before.
SHADOW_DATE_FUNCTION = f"{{% macro strftime_now(format) %}}{SENTINEL}{{% endmacro %}}\n"


@dataclass(frozen=True, slots=True)
class Masked:
    """Messages whose cut-off phrases are hidden, and the way back."""

    messages: list[dict[str, str]]
    mark: str
    originals: list[str]

    def unmask(self, text: str) -> str:
        """The text with every mask, the mark and a number, as the phrase that it hides."""
        if not self.originals:
            return text
        return re.sub(f"{self.mark}({_DIGIT}{{{_DIGITS}}})", lambda m: self.originals[_number(m[1])], text)


def mask_cutoff_phrases(messages: Sequence[Message]) -> Masked:
    """Hide every phrase in message text that `drop_date_lines` would take for the template's own."""
    mark, originals = unguessable(), list[str]()

    def hide(match: re.Match[str]) -> str:
        originals.append(match.group())
        return mark + _digits(len(originals) - 1)

    masked = [{**message, "content": _CUTOFF.sub(hide, message["content"])} for message in messages]
    return Masked(masked, mark, originals)


def _digits(number: int) -> str:
    return "".join(chr(_FIRST + byte) for byte in number.to_bytes(_DIGITS))


def _number(digits: str) -> int:
    return int.from_bytes(bytes(ord(digit) - _FIRST for digit in digits))


def is_date_line(line: str) -> bool:
    """Whether the template tells the date or the end of the model's knowledge on this line."""
    return SENTINEL in line or _CUTOFF_LINE.match(line) is not None


def without_date_sentences(line: str) -> str:
    """What is left of a date line: nothing where it tells the date alone.

    A sentence that holds the date among other words stays, so that the sentinel in the result tells of it.

    Example:
        >>> without_date_sentences(f"Knowledge Cutoff Date: April 2024. Today's Date: {SENTINEL}. You are Granite.\\n")
        'You are Granite.\\n'
        >>> without_date_sentences("Cutting Knowledge Date: Dec. 2023\\n")
        ''
    """
    written = line.rstrip("\n")
    # Splitting at a group puts the spaces at the odd places: each goes with the sentence behind it.
    spaces_and_sentences = ["", *_SENTENCE_END.split(written)]
    kept = ""
    for space, sentence in zip(spaces_and_sentences[::2], spaces_and_sentences[1::2], strict=True):
        if not (_DATE.fullmatch(sentence) or _CUTOFF_LINE.match(sentence)):
            kept += (space if kept else "") + sentence
    return kept + line[len(written) :] if kept.strip() else ""


def split_lines(rendered: str, special_tokens: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Cut a rendering into special tokens and, between them, lines with their line breaks; joined it is the same text.

    Each piece comes with whether it is a line. Special tokens are pieces of their own, so that a header on the same
    line as a date is never dropped with it.

    Example:
        >>> split_lines("<s>system\\nToday: 1 May</s>", ("<s>", "</s>"))
        [('<s>', False), ('system\\n', True), ('Today: 1 May', True), ('</s>', False)]
    """
    pieces = []
    # Splitting at a group puts the special tokens at the odd places.
    for place, segment in enumerate(_any_of(special_tokens).split(rendered)):
        if place % 2:
            pieces.append((segment, False))
        else:
            pieces.extend((line, True) for line in _LINE.findall(segment))
    return pieces


def drop_dates(rendered: str, special_tokens: tuple[str, ...], *, blank_lines: bool) -> str:
    """Leave out the template's date sentences; every other byte stays.

    Args:
        blank_lines: where date lines stand between blank lines, or between a special token and a blank line, leave out
            the blank line behind them too: it set them apart, as at the beginning of Llama 3's system text.
    """
    if SENTINEL not in rendered and _CUTOFF.search(rendered) is None:
        return rendered
    kept, dropped_last = list[tuple[str, bool]](), False
    for piece, is_line in split_lines(rendered, special_tokens):
        if is_line and is_date_line(piece):
            if rest := without_date_sentences(piece):
                kept.append((rest, True))
            dropped_last = not rest
        elif blank_lines and is_line and dropped_last and piece == "\n" and _is_set_apart(kept):
            dropped_last = False
        else:
            kept.append((piece, is_line))
            dropped_last = False
    return "".join(piece for piece, _ in kept)


def _is_set_apart(before: Sequence[tuple[str, bool]]) -> bool:
    """Whether a blank line, a special token or nothing stands before the place that is looked at."""
    return not before or not before[-1][1] or before[-1][0] == "\n"


def date_sentences(rendered: str, special_tokens: tuple[str, ...]) -> list[str]:
    """What `drop_dates` leaves out, each once, the sentinel as an ellipsis."""
    lines = [piece for piece, is_line in split_lines(rendered, special_tokens) if is_line and is_date_line(piece)]
    gone = (line.replace(without_date_sentences(line).strip() or "\0", "").strip() for line in lines)
    return list(dict.fromkeys(re.sub(f"(?:{SENTINEL})+", "…", text) for text in gone if text))


def drop_date_lines(rendered: str, special_tokens: tuple[str, ...]) -> str:
    """The rule of version 0.1.0, for datasets that it began: whole lines go, and the blank line behind them stays."""
    if SENTINEL not in rendered and _CUTOFF.search(rendered) is None:
        return rendered
    pieces = split_lines(rendered, special_tokens)
    return "".join(piece for piece, is_line in pieces if not (is_line and is_date_line(piece)))


@lru_cache(maxsize=64)
def _any_of(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of the tokens, as a group; built once, for vocabularies have hundreds of special tokens."""
    longest_first = sorted(filter(None, tokens), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
