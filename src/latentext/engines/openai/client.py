"""The official client, set up for one server: without retries of its own, which pace and budget decide."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from latentext.engines.openai.credentials import api_key, on_loopback, server_address
from latentext.errors import EngineError
from latentext.spec import ApiOptions

if TYPE_CHECKING:
    import httpx2
    import openai

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


def open_client(options: ApiOptions) -> openai.AsyncOpenAI:
    """A client for the server of these options; to be closed in the event loop that used it.

    Raises:
        CredentialsError: OpenAI's own server needs a key, and there is none.
    """
    require_openai()
    import httpx2
    import openai

    url = server_address(options.base_url)
    key, _ = api_key(url)
    connections = httpx2.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency)
    http: dict[str, Any] = {"limits": connections}
    if on_loopback(url):
        http["trust_env"] = False  # A proxy of the environment does not know this machine's own addresses.
    return openai.AsyncOpenAI(
        api_key=key,
        base_url=url,
        max_retries=0,
        timeout=httpx2.Timeout(options.timeout, connect=min(options.timeout, _CONNECT_SECONDS)),
        http_client=_transport()(**http),
    )


def _transport() -> type[httpx2.AsyncClient]:
    """The client's own transport over aiohttp, which takes half the processor time a request, where it is installed."""
    import openai

    return openai.DefaultAioHttpClient if find_spec("aiohttp") else openai.DefaultAsyncHttpxClient


async def post_chat(client: openai.AsyncOpenAI, body: dict[str, Any], *, idempotency_key: str) -> bytes:
    """Ask for one chat completion; the answer's bytes as they came, which is what the journal keeps.

    Not through ``chat.completions.create``: it would build and check objects that nobody here reads, and refuse the
    fields that other servers know. A server that honours the ``Idempotency-Key`` bills a repeated request once.
    """
    import httpx2

    answer: httpx2.Response = await client.post(
        f"{client.base_url}chat/completions",  # Whole: a path would be parsed and joined to the address three times.
        cast_to=httpx2.Response,
        body=body,
        options={"headers": {"Idempotency-Key": idempotency_key}},
    )
    return answer.content
