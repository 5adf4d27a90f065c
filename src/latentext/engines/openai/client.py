"""The official client, set up for one server: without retries of its own, which pace and budget decide.

It gives the key, the address, the headers and the connections. Requests themselves go over its HTTP client: what its
``post`` does around that (options copied twice, addresses parsed three times, headers merged anew) takes longer than to
send and to read, and holds sixteen requests to a server of 50 ms below nine tenths of what they could be.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from latentext.engines.openai.credentials import api_key, on_loopback, server_address
from latentext.errors import EngineError
from latentext.spec import ApiOptions

if TYPE_CHECKING:
    import httpx2

_CONNECT_SECONDS = 15.0


def require_openai() -> None:
    """Raise unless the official client is installed.

    Raises:
        EngineError: it is not; the extra that brings it is named.
    """
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise EngineError("the client of OpenAI is not installed", remedy="pip install 'latentext[api]'") from error


class ChatClient:
    """Asks one server for chat completions; to be used and closed in one event loop.

    Raises:
        CredentialsError: OpenAI's own server needs a key, and there is none.
        EngineError: the official client is not installed.
    """

    def __init__(self, options: ApiOptions):
        require_openai()
        import httpx2
        import openai

        url = server_address(options.base_url)
        key, _ = api_key(url)
        connections = httpx2.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency)
        http: dict[str, Any] = {"limits": connections}
        if on_loopback(url):
            http["trust_env"] = False  # A proxy of the environment does not know this machine's own addresses.
        timeout = httpx2.Timeout(options.timeout, connect=min(options.timeout, _CONNECT_SECONDS))
        self._http = _transport()(timeout=timeout, **http)
        self._official = openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0, http_client=self._http)
        self._url = httpx2.URL(f"{self._official.base_url}chat/completions")
        headers = self._official.default_headers | self._official.auth_headers
        # Without what the client tells its maker about `post` and the machine that it runs on.
        self._headers = [
            (name, value)
            for name, value in headers.items()
            if isinstance(value, str) and not name.lower().startswith("x-stainless-")
        ]
        self._extensions = {"timeout": timeout.as_dict()}

    async def post(self, body: dict[str, Any], *, idempotency_key: str) -> httpx2.Response:
        """The server's answer, whatever its status; its bytes as they came are what the journal keeps.

        A server that honours the ``Idempotency-Key`` bills a repeated request once.

        Raises:
            httpx2.HTTPError: there is none.
        """
        import httpx2

        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        headers = [*self._headers, ("Idempotency-Key", idempotency_key)]
        request = httpx2.Request("POST", self._url, headers=headers, content=content, extensions=self._extensions)
        return await self._http.send(request)

    async def close(self) -> None:
        """Give the connections back."""
        await self._official.close()


def _transport() -> type[httpx2.AsyncClient]:
    """The client's own transport over aiohttp, which takes half the processor time a request, where it is installed."""
    import openai

    return openai.DefaultAioHttpClient if find_spec("aiohttp") else openai.DefaultAsyncHttpxClient
