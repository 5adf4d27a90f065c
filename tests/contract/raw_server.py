"""A server that sends any bytes at all, without end if it likes: what no honest library would put on a wire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

Wire = Callable[[bytes, bytes], Iterable[bytes]]
"""(first line and headers, body) of a request → what goes over the wire; then the connection is closed."""


class RawServer:
    """For a ``with`` block; `asked` holds the heads of all requests, `sent` counts bytes."""

    def __init__(self, wire: Wire):
        self._wire = wire
        self.asked: list[bytes] = []
        self.sent = 0
        outer = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                outer._answer(self.rfile, self.wfile)

        class Server(ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.origin}/v1"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, incoming: Any, outgoing: Any) -> None:
        head = b""
        while (line := incoming.readline()) not in (b"", b"\r\n"):
            head += line
        if not head:
            return
        lengths = [line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length")]
        body = incoming.read(int(lengths[0])) if lengths else b""
        self.asked.append(head)
        try:
            for piece in self._wire(head, body):
                outgoing.write(piece)
                self.sent += len(piece)
        except OSError:
            return  # The other side has had enough.


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer as it goes over the wire."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
