"""Rendering a chat template without the lines that tell the model what day it is.

Templates of the Llama 3 family print a knowledge cut-off and today's date into every prompt, so the same spec would
give other token ids tomorrow. Cutting known phrases out of the finished text would also cut them out of what a user
wrote. Here the template is rendered with its date bound to a sentinel that no text contains, phrases of the cut-off
line are masked in the messages meanwhile, and then exactly the lines that the template itself wrote are dropped.

The sentinel and the masks are private-use characters, which `upper`, `capitalize` and `trim` leave alone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from latentext.request import Message

_CUTOFF = re.compile(r"(?:cutting knowledge date|knowledge cut-?off(?: date)?)(?=\s*:)", re.IGNORECASE)
_CUTOFF_LINE = re.compile(rf"\s*{_CUTOFF.pattern}\s*:", re.IGNORECASE)


def unguessable(length: int = 16) -> str:
    """Private-use characters that no text holds by chance: 8 bits each."""
    return "".join(chr(0xE100 + byte) for byte in secrets.token_bytes(length))


SENTINEL = unguessable()
"""Stands for the date in a rendering; new in every process, and never in what is returned."""

# A variable given to `render` is reduced to plain data, so the function `strftime_now` is shadowed by a macro instead.
# The line break belongs to the macro's tag (trim_blocks), and leaves the template at the start of a line as before.
SHADOW_DATE_FUNCTION = f"{{% macro strftime_now(format) %}}{SENTINEL}{{% endmacro %}}\n"


@dataclass(frozen=True, slots=True)
class Masked:
    """Messages whose cut-off phrases are hidden, and the way back."""

    messages: list[dict[str, str]]
    originals: dict[str, str]

    def unmask(self, text: str) -> str:
        for mask, original in self.originals.items():
            text = text.replace(mask, original)
        return text


def mask_cutoff_phrases(messages: Sequence[Message]) -> Masked:
    """Hide every phrase in message text that `drop_date_lines` would take for the template's own."""
    originals: dict[str, str] = {}

    def hide(match: re.Match[str]) -> str:
        mask = unguessable()
        originals[mask] = match.group()
        return mask

    masked = [{**message, "content": _CUTOFF.sub(hide, message["content"])} for message in messages]
    return Masked(masked, originals)


def is_date_line(line: str) -> bool:
    """Whether the template wrote this line to tell the date or the end of the model's knowledge."""
    return SENTINEL in line or _CUTOFF_LINE.match(line) is not None


def split_lines(rendered: str, special_tokens: Sequence[str]) -> list[str]:
    """Cut a rendering into special tokens and, between them, lines with their line breaks; joined it is the same text.

    The special tokens are pieces of their own, so a header on the same line as a date is never dropped with it.

    Example:
        >>> split_lines("<s>system\\nToday: 1 May</s>", ["<s>", "</s>"])
        ['<s>', 'system\\n', 'Today: 1 May', '</s>']
    """
    longest_first = sorted(filter(None, special_tokens), key=len, reverse=True)
    segments = re.split(f"({'|'.join(map(re.escape, longest_first))})", rendered) if longest_first else [rendered]
    return [line for segment in segments for line in re.findall(r"[^\n]*\n|[^\n]+", segment)]


def drop_date_lines(rendered: str, special_tokens: Sequence[str]) -> str:
    """Leave out the template's date lines; every other byte stays, the blank line behind them too."""
    if SENTINEL not in rendered and _CUTOFF.search(rendered) is None:
        return rendered
    special = set(special_tokens)
    lines = split_lines(rendered, special_tokens)
    return "".join(line for line in lines if line in special or not is_date_line(line))
