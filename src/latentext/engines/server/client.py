"""The official client, set up for one server: without retries of its own, which pace and budget decide.

It gives the key, the address, the headers and the connections. Requests themselves go over its HTTP client: what its
``post`` does around that (options copied twice, addresses parsed three times, headers merged anew) takes longer than to
send and to read, and holds sixteen requests to a server of 50 ms below nine tenths of what they could be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from latentext.engines.server.addresses import base_and_query, endpoint
from latentext.engines.server.answer_size import MOST_ERROR_BYTES, most_bytes, too_large
from latentext.engines.server.credentials import api_key, on_loopback, refuse_unsendable, server_address
from latentext.engines.server.http_errors import look_for_redirect, one_kind_of_error
from latentext.engines.server.reaching import CONNECT_SECONDS
from latentext.engines.server.redaction import Redaction
from latentext.libraries import openai as library
from latentext.spec import ApiOptions

if TYPE_CHECKING:
    import httpx2


_OF_THE_ENVIRONMENT = {"openai-organization": "OPENAI_ORG_ID", "openai-project": "OPENAI_PROJECT_ID"}
"""Headers that the official client sends, by the variables that it reads them from."""


def refuse_unsendable_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that HTTP has no form for: the official client fills some of them from the environment.

    Raises:
        CredentialsError: naming the variable, or else the header.
    """
    for name, value in headers.items():
        refuse_unsendable(value, _OF_THE_ENVIRONMENT.get(name.lower(), f"HTTP header {name}"))


@dataclass(frozen=True, slots=True)
class ServerReply:
    """An answer of a server, whatever its status."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status says that the request was answered."""
        return 200 <= self.status < 300


class ChatClient:
    """Asks one server for chat completions; to be used and closed in one event loop.

    Attributes:
        redaction: takes the key out of answers.

    Raises:
        CredentialsError: OpenAI's own server needs a key, and there is none.
        EngineError: the official client is not installed.
    """

    def __init__(self, options: ApiOptions):
        library.require()
        import httpx2
        import openai

        url = server_address(options.base_url)
        key, is_real = api_key(url)
        self.redaction = Redaction(key if is_real else None)
        connections = httpx2.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency)
        http: dict[str, Any] = {"limits": connections, "event_hooks": {"response": [look_for_redirect]}}
        self.direct = on_loopback(url)
        if self.direct:
            http["trust_env"] = False  # A proxy of the environment does not know this machine's own addresses.
        timeout = httpx2.Timeout(options.timeout, connect=min(options.timeout, CONNECT_SECONDS))
        self._http = library.async_transport()(timeout=timeout, **http)
        base, query = base_and_query(url)
        self._official = openai.AsyncOpenAI(
            api_key=key, base_url=base, default_query=query, max_retries=0, http_client=self._http
        )
        self._url = httpx2.URL(endpoint(str(self._official.base_url), "chat/completions", urlsplit(url or "").query))
        self._headers = library.request_headers(self._official)
        refuse_unsendable_headers(dict(self._headers))
        self._extensions = {"timeout": timeout.as_dict()}

    @property
    def url(self) -> str:
        """Where requests go."""
        return str(self._url)

    async def post(self, body: dict[str, Any], *, idempotency_key: str) -> ServerReply:
        """The server's answer, whatever its status; its bytes, without the key, are what the journal keeps.

        A server that honours the ``Idempotency-Key`` bills a repeated request once.

        Raises:
            httpx2.HTTPError: there is none.
            TooLargeError: it is beyond what the tokens asked for can take. RedirectError: it is a redirect.
        """
        import httpx2

        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        headers = [*self._headers, ("Idempotency-Key", idempotency_key)]
        request = httpx2.Request("POST", self._url, headers=headers, content=content, extensions=self._extensions)
        with one_kind_of_error():
            response = await self._http.send(request, stream=True)
            try:
                content = self.redaction.of_bytes(await _content(response, body))
                return ServerReply(response.status_code, response.headers, content)
            finally:
                await response.aclose()

    async def close(self) -> None:
        """Give the connections back."""
        await self._official.close()


async def _content(response: httpx2.Response, body: Mapping[str, Any]) -> bytes:
    """The bytes of an answer, unpacked; of an error no more than its beginning.

    Raises:
        TooLargeError: there are more than the body's tokens can take.
    """
    most = most_bytes(body) if response.is_success else MOST_ERROR_BYTES
    pieces, size = [], 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        if (size := size + len(piece)) > most:
            if response.is_success:
                raise too_large(body)
            break
    return b"".join(pieces)[:most]
