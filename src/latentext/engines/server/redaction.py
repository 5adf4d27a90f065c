r"""The key of a server, kept out of whatever the server sends back.

A server, or a proxy that shows what it was asked, may put the key into an answer: as it is, with JSON escapes
(``\u0073k-…``), or in base64, alone or inside a header's value. Answers are therefore searched before anything is
written or shown, and every place becomes ``[key]``. What only looks like a key is left alone here, since it may be what
the model wrote.
"""

from __future__ import annotations

import base64
import re
import threading
from functools import lru_cache

MARK = "[key]"
_SHORTEST = 6
"""A key of fewer characters is a word like any other: to replace it would spoil texts and hide nothing."""

_MOST_BACKSLASHES = 8
_LONGEST_CHARACTER = _MOST_BACKSLASHES + len("u0073")
_MOST_WAITING = 1 << 20


class Redaction:
    r"""Replaces one key; `found` counts how often it had to.

    Example:
        >>> redaction = Redaction("secret-key-0123")
        >>> redaction.of_bytes(b'{"echo": "Bearer secret\\u002dkey-0123"}'), redaction.of_text("c2VjcmV0LWtleS0wMTIz")
        (b'{"echo": "Bearer [key]"}', '[key]')
        >>> redaction.found
        2
    """

    def __init__(self, key: str | None):
        spellings = _spellings(key) if key is not None and len(key) >= _SHORTEST else []
        pattern = "|".join(_character(s[0], first=True) + "".join(map(_character, s[1:])) for s in spellings)
        letters = "|".join(f"{ord(letter):02x}" for letter in sorted(set("".join(spellings))))
        # Servers escape < and > in every text that has them; only letters of the key are worth a search.
        self._escaped_letter = re.compile(rf"\\u00(?:{letters})".encode(), re.IGNORECASE)
        self._plain = [spelling.replace("\\", "").encode() for spelling in spellings]
        self._pattern = re.compile(pattern) if pattern else None
        self._in_bytes = re.compile(pattern.encode()) if pattern else None
        self.longest = max((_LONGEST_CHARACTER * len(spelling) for spelling in spellings), default=0)
        """Bytes of the longest place: so many of a piece have to be looked at again together with the next one."""
        self.found = 0
        self._lock = threading.Lock()

    def of_text(self, text: str) -> str:
        """The text without the key."""
        if self._pattern is None or not self._may_be_in(text.encode("utf-8", "replace")):
            return text
        return self._pattern.sub(self._replaced, text)

    def of_bytes(self, raw: bytes) -> bytes:
        """The bytes without the key; what was JSON is JSON still."""
        if self._in_bytes is None or not self._may_be_in(raw):
            return raw
        return self._in_bytes.sub(self._replaced_bytes, raw)

    def _may_be_in(self, raw: bytes) -> bool:
        """A quick look, a hundred times faster than the search, which clears nearly every answer."""
        if self._escaped_letter.search(raw):
            return True
        unescaped = raw.replace(b"\\", b"")
        return any(spelling in unescaped for spelling in self._plain)

    def _replaced(self, place: re.Match[str]) -> str:
        return self._mark(place[0], _backslashes_before(place.string, place.start(), "\\"))

    def _replaced_bytes(self, place: re.Match[bytes]) -> bytes:
        before = _backslashes_before(place.string, place.start(), ord("\\"))
        return self._mark(place[0].decode(), before).encode()

    def _mark(self, place: str, before: int) -> str:
        """What stands there instead, so that an even number of backslashes remains in front of it."""
        if before % 2 and not place.startswith("\\"):
            return place  # Its first letter belongs to an escape such as \n: it is not the key.
        with self._lock:
            self.found += 1
        return "\\" * (before % 2) + MARK


class RedactedStream:
    """`Redaction` of bytes that come in pieces: `take` gives what can be written, `rest` the end."""

    def __init__(self, redaction: Redaction):
        self._redaction, self._waiting = redaction, b""

    def take(self, piece: bytes) -> bytes:
        """What is known not to be part of a key, of this piece and those before it."""
        self._waiting += piece
        # A key holds no line end, so whole lines can go; of an endless line all but what may be half a key.
        end = self._waiting.rfind(b"\n") + 1
        if not end and len(self._waiting) > _MOST_WAITING:
            self._waiting = self._redaction.of_bytes(self._waiting)
            end = max(0, len(self._waiting) - self._redaction.longest)
        ready, self._waiting = self._waiting[:end], self._waiting[end:]
        return self._redaction.of_bytes(ready)

    def rest(self) -> bytes:
        """What is left when nothing more comes."""
        ready, self._waiting = self._waiting, b""
        return self._redaction.of_bytes(ready)


def found_in_answers(count: int) -> str:
    """What to tell a user whose server sends the key back."""
    times = "once" if count == 1 else f"{count:,} times"
    return f"the server sent your API key back {times}; each time {MARK} is written instead"


@lru_cache(4)
def redaction_of(key: str | None) -> Redaction:
    """The one for messages, made once for each key."""
    return Redaction(key)


def _spellings(key: str) -> list[str]:
    """The key, and what every base64 text that holds it has in it, wherever in its three-byte groups it begins."""
    raw, found = key.encode(), [key]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        inner = encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        found += [inner, inner.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(found))


def _character(character: str, *, first: bool = False) -> str:
    r"""A pattern for a character as it is, or as JSON may escape it, also in JSON within JSON (``\\u0073``)."""
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(character):04x}")
    most, plain = _MOST_BACKSLASHES, re.escape(character)
    as_it_is = plain if first else rf"\\{{0,{most}}}{plain}"
    return rf"(?:{as_it_is}|\\{{1,{most}}}u{code})"


def _backslashes_before(text: str | bytes, place: int, backslash: str | int) -> int:
    count = 0
    while count < place and text[place - count - 1] == backslash:
        count += 1
    return count
