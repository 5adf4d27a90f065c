"""The stand-in itself: a server on loopback in a thread of its own, its routes, and its count of what was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latentext.engines.server.standin.faults import Fault, edited
from latentext.engines.server.standin.http import Connection, Handler, HttpReply, HttpRequest
from latentext.engines.server.standin.texts import Answers, chat_completion, plain_text, prompt_tokens
from latentext.errors import EngineError
from latentext.request import Usage

CHAT = "/v1/chat/completions"
Faults = Sequence[Fault | None] | Callable[[int, Mapping[str, Any]], Fault | None]
"""Faults of the first requests in their order, or a function of (how-manyth request, body)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One chat completion that was asked for.

    Attributes:
        billed: whether a provider would charge for it: it was answered, or its answer was lost on the way.
        fault: name of what went wrong with it; empty for a good answer.
    """

    number: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    billed: bool
    fault: str

    @property
    def prompt(self) -> str:
        """The last message: what tests tell requests apart by."""
        return str(self.body["messages"][-1]["content"])


class StandIn:
    """A server for a ``with`` block.

    Args:
        answers: what is said to a request.
        faults: what goes wrong.
        delay: seconds before every answer.
        key: if given, only requests with this key are answered.
        prompt_tokens: counts the tokens in the prompt of a request body; by bytes if not given, as a stand-in has no
            tokenizer.

    Example:
        >>> import urllib.request
        >>> with StandIn() as server:
        ...     asked = urllib.request.Request(server.url + "/chat/completions", b'{"messages": [{"content": "Hi"}]}')
        ...     answer = json.loads(urllib.request.urlopen(asked).read())
        >>> answer["object"], len(server.asked)
        ('chat.completion', 1)
    """

    def __init__(
        self,
        answers: Answers = plain_text,
        *,
        faults: Faults = (),
        delay: float = 0.0,
        key: str | None = None,
        port: int = 0,
        prompt_tokens: Callable[[Mapping[str, Any]], int] = prompt_tokens,
    ):
        self._answers, self._faults, self._delay, self._key, self._port = answers, faults, delay, key, port
        self._prompt_tokens = prompt_tokens
        self.asked: list[Asked] = []
        self.most_at_once = self.at_once = 0
        self.url = ""
        self._routes: list[tuple[str, str, Handler]] = [("POST", CHAT, self._chat)]
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="latentext-stand-in", daemon=True)
        self._ready = threading.Event()
        self._problem: OSError | None = None

    def route(self, method: str, prefix: str, handler: Handler) -> None:
        """Answer paths that begin with `prefix`, the longest one first; for other parts of the protocol."""
        self._routes.append((method, prefix, handler))
        self._routes.sort(key=lambda route: -len(route[1]))

    def answer(self, body: Mapping[str, Any], number: int) -> dict[str, Any]:
        """The good answer to a request body."""
        return chat_completion(body, self._answers(body), number, self._prompt_tokens(body))

    def billed(self) -> Counter[str]:
        """How often each prompt would have been paid for."""
        return Counter(asked.prompt for asked in list(self.asked) if asked.billed)

    def bill(self) -> list[Usage]:
        """What each of them would have been paid for, whatever the answer says of it."""
        return [billed_usage(self.answer(asked.body, asked.number)) for asked in list(self.asked) if asked.billed]

    def __enter__(self) -> StandIn:
        self._thread.start()
        self._ready.wait()
        if self._problem is not None:
            raise EngineError(f"the stand-in server cannot listen: {self._problem.strerror}", where="127.0.0.1")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            listening = self._loop.create_server(
                lambda: Connection(self._handle, self._connections), "127.0.0.1", self._port, backlog=1024
            )
            server = self._loop.run_until_complete(listening)
        except OSError as error:
            self._problem = error
            self._ready.set()
            self._loop.close()
            return
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for connection in list(self._connections):
                connection.close()
            self._loop.run_until_complete(_settled())
            self._loop.close()

    def _handle(self, request: HttpRequest) -> Any:
        for method, prefix, handler in self._routes:
            if request.method == method and request.path.startswith(prefix):
                if self._key is not None and request.headers.get("authorization") != f"Bearer {self._key}":
                    return reply_of(Fault.bad_key(), {})
                return handler(request)
        return reply_of(Fault.error(404, f"Unknown request URL: {request.method} {request.path}"), {})

    def _chat(self, request: HttpRequest) -> Any:
        try:
            body = json.loads(request.body)
        except ValueError:
            return reply_of(Fault.error(400, "We could not parse the JSON body of your request."), {})
        number = len(self.asked)
        fault = self._fault(number, body)
        billed = fault is None or fault.answers
        self.asked.append(Asked(number, body, request.headers, billed, fault.name if fault else ""))
        if fault is None and not self._delay:
            return HttpReply(body=json.dumps(self.answer(body, number)).encode())
        return self._later(body, number, fault)

    async def _later(self, body: Mapping[str, Any], number: int, fault: Fault | None) -> HttpReply | None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if fault is not None and fault.connection == "hang":
                await asyncio.sleep(fault.seconds)
            if self._delay:
                await asyncio.sleep(self._delay)
        finally:
            self.at_once -= 1
        answer = self.answer(body, number)
        return HttpReply(body=json.dumps(answer).encode()) if fault is None else reply_of(fault, answer)

    def _fault(self, number: int, body: Mapping[str, Any]) -> Fault | None:
        if callable(self._faults):
            return self._faults(number, body)
        return self._faults[number] if number < len(self._faults) else None


def reply_of(fault: Fault, answer: dict[str, Any]) -> HttpReply | None:
    """What goes over the wire for a fault, given the good answer."""
    if fault.connection == "drop":
        return None
    body = fault.body if fault.body is not None else json.dumps(edited(answer, fault.edit)).encode()
    return HttpReply(
        fault.status,
        body,
        headers=fault.headers,
        drip=fault.seconds if fault.connection == "drip" else None,
        cut=len(body) // 2 if fault.connection == "cut" else None,
    )


def billed_usage(answer: Mapping[str, Any]) -> Usage:
    """What a good answer took."""
    return Usage(answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])


async def _settled() -> None:
    """Let cancelled tasks and closed connections come to their end."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)
