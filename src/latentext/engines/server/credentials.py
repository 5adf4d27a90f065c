"""The key of a server: where it is looked for, when none is needed, and how it is kept out of every text.

A key is read from the environment or from a file `.env` in the working folder or one above it. It is handed to the
official client and to nobody else.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from latentext.engines.server.addresses import problem_of
from latentext.engines.server.redaction import MARK, redaction_of
from latentext.errors import CredentialsError, SpecError

KEY = "OPENAI_API_KEY"
_BASE_URL = "OPENAI_BASE_URL"
PLACEHOLDER = "no-key"
"""Sent where a server of one's own asks for a key and none is set."""

_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|rk|sess)-[A-Za-z0-9_*\-]{6,}|\b[Bb]earer\s+\S+")


def server_address(base_url: str | None) -> str | None:
    """The address that is asked: the option's, the environment's, or None for OpenAI's own.

    Raises:
        SpecError: it is no HTTP address, or it holds a name and a password, which would end up in `spec.yaml`.
    """
    url = base_url or os.environ.get(_BASE_URL) or None
    if url is None:
        return None
    where = "model.api.base_url" if base_url else _BASE_URL
    if problem := problem_of(url):
        what = f"{without_keys(url)!r} is no address of a server: {problem}"
        raise SpecError(what, where=where, remedy="as in http://host:port/v1")
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise SpecError("the address holds a password", where=where, remedy=f"put the key into {KEY}")
    return url


def on_loopback(url: str | None) -> bool:
    """Whether the address is of this machine itself.

    Example:
        >>> on_loopback("http://127.0.0.1:8000/v1"), on_loopback(None)
        (True, False)
    """
    host = urlsplit(url).hostname if url else None
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_openai(url: str | None) -> bool:
    """Whether the address is OpenAI's own."""
    host = (urlsplit(url).hostname or "") if url else "api.openai.com"
    return host == "openai.com" or host.endswith(".openai.com")


def api_key(url: str | None) -> tuple[str, bool]:
    """The key for this address, and whether it is a real one.

    A server other than OpenAI's gets a placeholder where no key is set: llama.cpp and vLLM ask for none.

    Raises:
        CredentialsError: OpenAI's own server needs a key, and there is none; or the key cannot be sent.
    """
    if key := _found():
        refuse_unsendable(key, KEY)
        return key, True
    if not is_openai(url):
        return PLACEHOLDER, False
    raise CredentialsError(
        f"there is no {KEY}",
        remedy=f"put {KEY}=… into the environment or into a file .env here, or name a server of your own by "
        "model.api.base_url",
        heading="OpenAI keys",
    )


def refuse_unsendable(value: str, name: str) -> None:
    """Refuse a key, or another value of an HTTP header, that HTTP has no form for.

    Args:
        name: of the environment variable or header.

    Raises:
        CredentialsError: a line break or the like is in it; the message does not show the value.
    """
    if value.isascii() and value.isprintable():
        return
    what = "it holds a line break" if len(value.splitlines()) > 1 else "it holds a character that HTTP cannot send"
    raise CredentialsError(what, where=name, remedy="copy the value again, as one line", heading="OpenAI keys")


def without_keys(text: str) -> str:
    """A text of a server without anything that is, or looks like, a key.

    Example:
        >>> without_keys("Incorrect API key provided: sk-abcdefgh1234.")
        'Incorrect API key provided: [key].'
    """
    return _LOOKS_LIKE_A_KEY.sub(MARK, redaction_of(_found()).of_text(text))


def refuse_keys(fields: Mapping[str, object], where: str) -> None:
    """Refuse options that hold the key: they are part of the spec and would be written to files.

    Raises:
        SpecError: it is there.
    """
    if (key := _found()) and key in repr(fields):
        raise SpecError("holds the API key", where=where, remedy=f"the key belongs into {KEY} alone")


def _found() -> str | None:
    key = os.environ.get(KEY, "").strip()
    if not key:
        from dotenv import dotenv_values, find_dotenv

        path = find_dotenv(usecwd=True)
        key = (dotenv_values(path).get(KEY) or "").strip() if path else ""
    return key or None
