"""HTTP/1.1 as far as the stand-in needs it: keep-alive, a length on both sides, one request after the other.

Written on asyncio's protocols and not on `http.server`, whose thread a connection would make the server the slowest
part of a benchmark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

_MOST_HEADER_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One answer. `drip` sends a byte every so many seconds; `cut` closes after so many bytes."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float | None = None
    cut: int | None = None


Handler = Callable[[HttpRequest], "HttpReply | Coroutine[None, None, HttpReply | None] | None"]
"""Answers a request, at once or later; None closes the connection without an answer."""


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out, in order."""

    def __init__(self, handler: Handler, open_connections: set[Connection]):
        self._handler, self._open = handler, open_connections
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next()

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        """Answer what has come in whole; a handler that takes its time gets a task."""
        while (request := self._parse()) is not None:
            answer = self._handler(request)
            if asyncio.iscoroutine(answer):
                self._task = asyncio.get_running_loop().create_task(self._later(answer))
                return
            assert answer is None or isinstance(answer, HttpReply)
            if answer is not None and answer.drip is not None:
                self._task = asyncio.get_running_loop().create_task(self._drip(answer, answer.drip))
                return
            self._send(answer)

    async def _later(self, answer: Coroutine[None, None, HttpReply | None]) -> None:
        reply = await answer
        if reply is not None and reply.drip is not None:
            await self._drip(reply, reply.drip)
            return
        self._send(reply)
        self._task = None
        self._next()

    def _send(self, reply: HttpReply | None) -> None:
        assert self._transport is not None
        if reply is None:
            self._transport.abort()
        elif reply.cut is not None:
            self._transport.write(_wire(reply)[: reply.cut])
            self._transport.close()
        else:
            self._transport.write(_wire(reply))

    async def _drip(self, reply: HttpReply, seconds: float) -> None:
        assert self._transport is not None
        for byte in _wire(reply):
            self._transport.write(bytes([byte]))
            await asyncio.sleep(seconds)

    def _parse(self) -> HttpRequest | None:
        """The first whole request in the buffer, taken out of it."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MOST_HEADER_BYTES:
                self.close()
            return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        length = int(headers.get("content-length", 0))
        if len(self._buffer) < end + 4 + length:
            if headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        method, target, _ = first.split(" ", 2)
        parts = urlsplit(target)
        return HttpRequest(method, parts.path, dict(parse_qsl(parts.query)), headers, body)


def _wire(reply: HttpReply) -> bytes:
    phrase = HTTPStatus(reply.status).phrase
    lines = [
        f"HTTP/1.1 {reply.status} {phrase}",
        f"content-type: {reply.content_type}",
        f"content-length: {len(reply.body)}",
    ]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + reply.body
