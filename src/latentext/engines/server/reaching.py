"""Whether a server can be reached at all, and whether a request that failed had left.

A request costs nothing until a connection stands. So the first thing that is done, and the first after a connection
could not be made, is to connect and say nothing (`connection_problem`): meanwhile nothing is promised that a killed run
would have to count. What the client's libraries raise for a connection that was never made is told apart here; over
aiohttp it comes under the same name as a connection that broke after the request.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

CONNECT_SECONDS = 10.0
TIMED_OUT = "it does not take connections (timed out)"
_ERRNO = re.compile(r"\[Errno (\d+)\]")


async def connection_problem(url: str, *, direct: bool, seconds: float = CONNECT_SECONDS) -> str | None:
    """Why no connection to the server of an address comes about; None if one does, or if a proxy is asked for it.

    Args:
        direct: whether proxies of the environment are passed over.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if not direct and parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return None
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, UnicodeError) as error:
        return reason_of(error)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return None


def place_of(url: str) -> str:
    """Host and port of an address, as a person reads them.

    Example:
        >>> place_of("http://127.0.0.1:8799/v1"), place_of("https://api.openai.com/v1")
        ('127.0.0.1:8799', 'api.openai.com')
    """
    return urlsplit(url).netloc.rpartition("@")[2] or url


def unsent(error: BaseException) -> bool:
    """Whether what the HTTP client raised says that no connection came about, so that nothing was sent."""
    import httpx2

    aiohttp = sys.modules.get("aiohttp")
    chain = list(_causes(error))
    if aiohttp is not None:
        never = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
        for cause in chain:
            if isinstance(cause, aiohttp.ClientError):
                return isinstance(cause, never)
    never_made = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
    return any(isinstance(cause, never_made) for cause in chain)


def broken(error: BaseException) -> str | None:
    """How a connection that stood came to an end before its answer was whole, in words; None if it did not."""
    if (aiohttp := sys.modules.get("aiohttp")) is not None:
        for cause in _causes(error):
            if isinstance(cause, aiohttp.ClientPayloadError):
                return "the connection broke in the middle of the answer"
            if isinstance(cause, aiohttp.ServerDisconnectedError):
                return "the server closed the connection without an answer"
    return None


def reason_of(error: BaseException) -> str:
    """Why a connection did not come about, in a few words.

    Example:
        >>> reason_of(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"))
        'connection refused'
    """
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return "there is no host of this name"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return f"it does not speak TLS as expected ({cause.reason or 'connection closed'})"
    for cause in chain:
        number = cause.errno if isinstance(cause, OSError) else None
        if number is None and (found := _ERRNO.search(str(cause))):
            number = int(found[1])
        if number == errno.ECONNREFUSED:
            return "connection refused"
        if number == errno.ETIMEDOUT:
            return TIMED_OUT
        if number is not None and number > 0:
            return os.strerror(number).lower()
    if any(isinstance(cause, TimeoutError) for cause in chain):
        return TIMED_OUT
    return str(error) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
