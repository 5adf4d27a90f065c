"""Redirects: a prompt goes to the server that the user named, and to no other.

A redirect within the server's own origin (scheme, host and port) is followed if it keeps the method and the body. One
to another origin would show it the prompts, and one that turns a POST into a GET would ask nothing: both are refused,
and the message names the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentext.engines.server.server_text import one_line

if TYPE_CHECKING:
    import httpx2

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
