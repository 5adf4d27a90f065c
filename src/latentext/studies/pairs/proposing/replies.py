"""What a model replied to a request for pairs: the pairs in it, or why there are none.

Models that are held to a JSON schema mostly answer ``{"pairs": […]}``; others call the list otherwise, leave it out,
put it between words or fences, or stop in the middle. All that can be read without guessing is read, since it was paid
for. What kind of reply it was is counted apart from whether its pairs are valid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from latentext.finish_reasons import FILTERED, REFUSED, is_whole
from latentext.finish_reasons import finish_reason as meaning_of

RawPair = tuple[Any, Any]
"""The two sides as the reply gave them: strings, or whatever stood in their place."""


class ReplyKind(StrEnum):
    """What kind of reply it was: every reply is exactly one of these."""

    PAIRS = "pairs"
    MALFORMED = "malformed"
    REFUSED = "refused"
    CUT = "cut"
    FAILED = "failed"
    """No reply at all: the request itself failed."""


@dataclass(frozen=True, slots=True)
class ProposalReply:
    """One reply.

    Attributes:
        kind: of a reply that was cut, or has broken JSON somewhere, the pairs that stood whole in it are kept.
        pairs: first side, second side; not checked in any way.
        broken: entries of the list that were no pair of the two sides.
    """

    kind: ReplyKind
    pairs: tuple[RawPair, ...] = ()
    broken: int = 0


_LISTS = ("pairs", "scenarios")
_OTHER_NAMES = ("prompt", "counterfactual")
_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)```", re.DOTALL)
_REFUSAL = re.compile(
    r"^\W*(i'?m (very |really )?(sorry|afraid|unable|not able)|i (can ?not|can'?t|won'?t|am unable|am not able|must "
    r"decline|do not feel|don'?t feel)|sorry\b|unfortunately\b|as an ai\b|no[.,] i)",
    re.IGNORECASE,
)
_DECODER = json.JSONDecoder()


def parse_reply(text: str | None, sides: tuple[str, str], finish_reason: str = "stop") -> ProposalReply:
    """The pairs of a reply.

    Understood are ``{"pairs": […]}``, ``{"scenarios": […]}``, one bare pair, and a list; also within a fence or between
    words. A pair is an object with both sides as keys (or with ``prompt`` and ``counterfactual``), or a list of two
    texts.

    Args:
        text: what the model wrote; None where it wrote nothing (a refusal).
        sides: the names of the two sides, as the task has them.
        finish_reason: the provider's word or the record's; what is not known to have ended by itself counts as cut.

    Example:
        >>> parse_reply('{"pairs": [{"safe": "a cake", "harmful": "a bomb"}]}', ("safe", "harmful")).pairs
        (('a cake', 'a bomb'),)
        >>> parse_reply('[{"safe": "a cake", "harmful": "a bomb"}, {"safe": "a c', ("safe", "harmful"), "length")
        ProposalReply(kind=<ReplyKind.CUT: 'cut'>, pairs=(('a cake', 'a bomb'),), broken=0)
        >>> parse_reply("I'm sorry, but I can't help with that.", ("safe", "harmful")).kind.value
        'refused'
    """
    text = (text or "").strip()
    if meaning_of(finish_reason) in (FILTERED, REFUSED):
        return ProposalReply(ReplyKind.REFUSED)
    was_cut = not is_whole(finish_reason)
    for document in _documents(text):
        if (found := _read(document, sides)) is not None and not was_cut:
            return ProposalReply(ReplyKind.PAIRS, *found)
    whole = tuple(_whole_pairs(text, sides))
    if was_cut:
        return ProposalReply(ReplyKind.CUT, whole)
    if whole:
        return ProposalReply(ReplyKind.MALFORMED if _has_leftovers(text) else ReplyKind.PAIRS, whole)
    if not text or _REFUSAL.match(text.replace("\u2019", "'")):
        return ProposalReply(ReplyKind.REFUSED)
    return ProposalReply(ReplyKind.MALFORMED)


def _documents(text: str) -> Iterator[Any]:
    """The JSON values that the text may be meant as: itself, what stands in fences, what begins at a bracket."""
    candidates = [text, *(match[1] for match in _FENCE.finditer(text))]
    if (start := re.search(r"[{\[]", text)) is not None:
        candidates.append(text[start.start() : max(text.rfind("}"), text.rfind("]")) + 1])
    for candidate in candidates:
        try:
            yield json.loads(candidate)
        except (ValueError, RecursionError):
            continue


def _read(document: Any, sides: tuple[str, str]) -> tuple[tuple[RawPair, ...], int] | None:
    """Pairs and broken entries of a JSON value; None if it is nothing that holds pairs."""
    if (pair := _pair(document, sides)) is not None:
        return (pair,), 0
    if isinstance(document, Mapping):
        inner = {str(name).casefold(): value for name, value in document.items() if isinstance(value, list | Mapping)}
        named = [inner[name] for name in _LISTS if name in inner] or (list(inner.values()) if len(inner) == 1 else [])
        if not named:
            return None
        return _read_list(named[0], sides) if isinstance(named[0], list) else _read(named[0], sides)
    return _read_list(document, sides) if isinstance(document, list) else None


def _read_list(entries: Sequence[Any], sides: tuple[str, str]) -> tuple[tuple[RawPair, ...], int]:
    found = [_pair(entry, sides) for entry in entries]
    pairs = tuple(pair for pair in found if pair is not None)
    return pairs, len(found) - len(pairs)


def _pair(value: Any, sides: tuple[str, str]) -> RawPair | None:
    if isinstance(value, Mapping):
        by_name = {str(name).strip().casefold(): side for name, side in value.items()}
        for first, second in (tuple(side.casefold() for side in sides), _OTHER_NAMES):
            if first in by_name and second in by_name:
                return by_name[first], by_name[second]
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(side, str) for side in value):
        return value[0], value[1]
    return None


def _whole_pairs(text: str, sides: tuple[str, str]) -> Iterator[RawPair]:
    """The pairs that stand complete in a text that is no JSON as a whole: cut, broken, or one a line."""
    place = text.find("{")
    while place >= 0:
        try:
            value, after = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            value, after = None, place + 1  # It may be the outer object, which has no end: its inner ones may.
        found = _read(value, sides)
        if found is not None:
            yield from found[0]
        place = text.find("{", after)


def _has_leftovers(text: str) -> bool:
    """Whether there is more in the text than JSON objects one after the other."""
    place = 0
    while place < len(text):
        if text[place].isspace() or text[place] == ",":
            place += 1
            continue
        try:
            _, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return True
    return False
