"""Strings that a server wrote, before they go into a text, a message or a file.

JSON can spell half of a surrogate pair, which is no character and has no form in UTF-8. The rule is the same for
texts, finish reasons, messages, ids and names: each half becomes U+FFFD, the replacement character, so that the rest of
an answer that was paid for is kept.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

from latentext.engines.server.credentials import without_keys
from latentext.errors import printable

MOST_CHARACTERS = 300
"""Of a server's words in a message of ours."""


def parse_json(raw: bytes) -> Any:
    """The JSON of an answer that was paid for, also where some of its bytes are no UTF-8: they become U+FFFD.

    Raises:
        ValueError, RecursionError: it is none.
    """
    try:
        return json.loads(raw)
    except UnicodeDecodeError:
        return json.loads(raw.decode("utf-8", "replace"))


def well_formed(text: str) -> str:
    r"""The text as UTF-8 can hold it: halves that belong together become one character, all others U+FFFD.

    Example:
        >>> well_formed("sure \ud83d") == "sure \ufffd", well_formed("\ud83d" + "\ude00") == "\U0001f600"
        (True, True)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def words_of_page(text: str) -> str:
    """What a page of HTML says: its title, or else its words without tags; any other text as it is.

    Example:
        >>> words_of_page("<html><head><title>Just a moment</title></head><body><p>Wait.</p></body></html>")
        'Just a moment'
    """
    text = text[: 20 * MOST_CHARACTERS]
    if not text.lstrip().startswith("<"):
        return text
    title = re.search(r"<title[^>]*>([^<]+)</title", text, re.IGNORECASE)
    return html.unescape(title[1] if title else re.sub(r"<[^>]*>", " ", text))


def one_line(text: str, most: int | None = MOST_CHARACTERS) -> str:
    """A server's words in one printable line, without keys, cut where they are longer than `most` characters."""
    if most is not None:
        text = text[: 20 * most]  # Of a page of HTML no more is looked at than can be shown.
    line = printable(" ".join(without_keys(well_formed(text)).split()))
    return line if most is None or len(line) <= most else line[: most - 1] + "…"
