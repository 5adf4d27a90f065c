"""The engine `openai` against the bare official client, before a server on loopback.

    python benchmarks/api.py [--rounds 5] [--delay 0.05]

A server that answers after 50 ms shows whether the requests in flight are kept at the number asked for: the ideal rate
is 16 / 0.05 s = 320 requests/s. A server that answers at once shows what a request costs us: the measure is the bare
client in a plain asyncio loop of 16 tasks, which journals nothing and counts nothing. The server is a process of its
own; how long it takes in truth is asked over a bare socket. On a machine that others use too, a longer --delay shows
the same of a lower rate, and the processor time that a request takes says more than its wall time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import openai

from latentext.engines.server.engine import OpenAIEngine
from latentext.request import Request
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits
from rounds import Row, measure, print_table

CONCURRENCY = 16
IDEAL_LIMIT = 0.90
BARE_LIMIT = 0.60
DECODING = Decoding(max_new_tokens=16)

_SERVE = """
import asyncio, json, selectors, sys

delay = float(sys.argv[1])
message = {"role": "assistant", "content": " ".join(["word"] * 16)}
body = json.dumps({
    "id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "gpt-4o",
    "choices": [{"index": 0, "message": message, "finish_reason": "length", "logprobs": None}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25},
}).encode()
head = "HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: "
answer = head.encode() + str(len(body)).encode() + b"\\r\\n\\r\\n" + body


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.held = transport, b""

    def data_received(self, data):
        self.held += data
        while (end := self.held.find(b"\\r\\n\\r\\n")) >= 0:
            length = int(self.held[:end].lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            if len(self.held) < end + 4 + length:
                return
            self.held = self.held[end + 4 + length :]
            loop.call_later(delay, self.transport.write, answer) if delay else self.transport.write(answer)


loop = asyncio.SelectorEventLoop(selectors.SelectSelector())  # epoll waits in whole milliseconds: up to one too long.
server = loop.run_until_complete(loop.create_server(Connection, "127.0.0.1", 0))
print("http://127.0.0.1:%d/v1" % server.sockets[0].getsockname()[1], flush=True)
loop.add_reader(sys.stdin, loop.stop)
loop.run_forever()
"""
"""A server that reads no more of a request than its length and gives all the same answer: on two cores that client and
server share, whatever else it did would be taken from the client."""


@contextmanager
def serving(delay: float) -> Iterator[str]:
    """The server, in a process of its own; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(delay)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


def answers_after(url: str, tries: int = 50) -> float:
    """Seconds that the server takes, by a bare socket that sends one request at a time."""
    address, body = urlsplit(url), b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Prompt"}]}'
    request = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    took = []
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        for _ in range(tries):
            began = time.perf_counter()
            connection.sendall(request)
            connection.recv(65536)
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def bare(url: str, requests: int) -> int:
    """The official client: 16 tasks that take the next number until there is none."""

    async def all_of_them() -> None:
        numbers = iter(range(requests))
        async with openai.AsyncOpenAI(api_key="no-key", base_url=url, max_retries=0) as client:

            async def worker() -> None:
                for number in numbers:
                    answer = await client.chat.completions.create(
                        model="gpt-4o",
                        messages=[{"role": "user", "content": f"Prompt {number}"}],
                        max_tokens=16,
                        temperature=0.0,
                        seed=number,
                    )
                    assert answer.choices[0].message.content

            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))

    asyncio.run(all_of_them())
    return requests


_keys = count()


def ours(url: str, requests: int) -> int:
    """The engine, opened and closed, with its journal on this disk; every answer priced, synced and parsed."""
    options = ApiOptions(base_url=url, concurrency=CONCURRENCY, prices="openai")
    wanted = [
        Request(i, f"key{next(_keys)}", {}, [{"role": "user", "content": f"Prompt {i}"}], "", ())
        for i in range(requests)
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = ModelSpec(name="gpt-4o", engine="openai", api=options)
        engine = OpenAIEngine(model, journal=Path(folder, "journal.sqlite"), limits=Limits())
        made = sum(1 for _ in engine.generate(wanted, range(1), DECODING, 0))
        engine.close()
    assert made == requests
    return made


def compare(title: str, delay: float, requests: int, rounds: int) -> list[Row]:
    """Rates of both ways before a server with this delay, and the processor time of this process for a request."""
    spent: dict[str, float] = {"bare client": 0.0, "engine": 0.0}

    def counted(name: str, way: Callable[[str, int], int]) -> int:
        before = time.process_time()
        done = way(url, requests)
        spent[name] += time.process_time() - before
        return done

    with serving(delay) as url:
        ways = {"bare client": lambda: counted("bare client", bare), "engine": lambda: counted("engine", ours)}
        rows = measure(ways, rounds)
        took = answers_after(url)
    print_table(title, rows, "requests/s")
    print(f"  the server, asked over a bare socket: {1000 * took:.2f} ms")
    for name, seconds in spent.items():
        print(f"  {name}: {1000 * seconds / requests / (rounds + 1):.2f} ms of processor time a request")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-requests", type=int, default=4800, help="requests to the server that takes 50 ms")
    parser.add_argument("--instant-requests", type=int, default=1500, help="requests to the one that answers at once")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds that the slow server takes")
    options = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load}")
    ideal = CONCURRENCY / options.delay
    title = f"answers after {options.delay * 1000:.0f} ms"
    slow = compare(title, options.delay, options.slow_requests, options.rounds)
    for row in slow:
        print(f"  {row.name}: {row.median / ideal:.2f} of the ideal {ideal:.0f} requests/s (target {IDEAL_LIMIT})")
    instant = compare("answers at once", 0.0, options.instant_requests, options.rounds)
    ratio = statistics.median(b / a for a, b in zip(instant[0].rates, instant[1].rates, strict=True))
    print(f"  engine / bare client: {ratio:.2f} (target {BARE_LIMIT})")


if __name__ == "__main__":
    main()
