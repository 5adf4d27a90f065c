"""One door for what the HTTP libraries raise: their own errors, and those that they let through.

The official client sends over httpx2, and that over aiohttp where it is installed. Neither hands on every error of the
layer beneath in its own words: too many headers are aiohttp's, a byte in the status line that is no ASCII is Python's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from latentext.engines.server.answer_size import TooLargeError
from latentext.engines.server.redirects import RedirectError
from latentext.engines.server.server_text import one_line
from latentext.libraries.openai import errors_let_through


@contextmanager
def one_kind_of_error() -> Iterator[None]:
    """Turn whatever a malformed answer makes the libraries raise into the client's own error; around them alone.

    Raises:
        httpx2.RemoteProtocolError: the answer is no HTTP.
    """
    import httpx2

    let_through: tuple[type[Exception], ...] = (*errors_let_through(), httpx2.InvalidURL, ValueError)
    try:
        yield
    except let_through as error:
        raise httpx2.RemoteProtocolError(f"the answer is no HTTP: {one_line(str(error))}") from error


def is_of_the_network(error: Exception) -> bool:
    """Whether an exception is about the server or the way to it, and not a fault of ours."""
    import httpx2
    import openai

    known = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, OSError, TooLargeError, RedirectError)
    return isinstance(error, known)
