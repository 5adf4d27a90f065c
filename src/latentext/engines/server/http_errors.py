"""One door for what the HTTP libraries raise: their own errors, and those that they let through.

The official client sends over httpx2, and that over aiohttp where it is installed. Neither hands on every error of the
layer beneath in its own words: too many headers are aiohttp's, a byte in the status line that is no ASCII is Python's.

A redirect to another origin would hand prompts and key to whoever answers there: it is refused and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from latentext.engines.server.answer_size import TooLargeError
from latentext.engines.server.server_text import one_line
from latentext.libraries.openai import errors_let_through

if TYPE_CHECKING:
    import httpx2


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


_KEEPS_METHOD = (307, 308)


class RedirectError(Exception):
    """A redirect that is not followed; the message says where to."""


def refuse_redirect(response: httpx2.Response) -> None:
    """Raise for an answer that sends the request elsewhere, or in another form.

    Raises:
        RedirectError: it does.
    """
    import httpx2

    if not response.has_redirect_location:
        return
    request, location = response.request, response.headers["location"]
    try:
        target = request.url.join(location)
    except (httpx2.InvalidURL, ValueError):
        raise RedirectError(f"the server redirects to {one_line(location)!r}, which is no address") from None
    place = one_line(f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}{target.path}")
    if _origin(target) != _origin(request.url):
        raise RedirectError(f"the server redirects to another server, {place}, to which nothing was sent")
    if request.method not in ("GET", "HEAD") and response.status_code not in _KEEPS_METHOD:
        raise RedirectError(
            f"the server redirects to {place} by status {response.status_code}, which asks without the question"
        )


async def look_for_redirect(response: httpx2.Response) -> None:
    """`refuse_redirect`, as a hook of a client with an event loop."""
    refuse_redirect(response)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
