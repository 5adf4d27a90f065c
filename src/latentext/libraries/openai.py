"""What latentext uses of OpenAI's client beyond its documented interface, and of the HTTP libraries beneath it.

* *httpx2.* The client sends over it, so its requests, time-outs and errors are httpx2's.
* *The transport.* Requests go over the client's own HTTP client, without its typed methods.
* *Headers.* ``default_headers`` and ``auth_headers``, less what the client tells its maker about itself.
* *The answer behind a raw response*, as bytes.
* *aiohttp*, over which the transport sends where it is installed, lets some of its own errors through.

The client is imported inside these functions, so that nothing else needs it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from latentext.errors import EngineError
from latentext.libraries.changed import changed

if TYPE_CHECKING:
    import httpx2

_OF_ITS_MAKER = "x-stainless-"


@cache
def require() -> None:
    """Raise unless the client is installed and sends over httpx2.

    Raises:
        EngineError: it is not, with the extra that brings it; or it sends over another library.
    """
    try:
        import openai
    except ImportError as error:
        raise EngineError("the client of OpenAI is not installed", remedy="pip install 'latentext[api]'") from error
    try:
        import httpx2

        if not issubclass(openai.DefaultAsyncHttpxClient, httpx2.AsyncClient):
            raise changed("openai", "its client does not send over httpx2")
        if not issubclass(openai.DefaultHttpxClient, httpx2.Client):
            raise changed("openai", "its client does not send over httpx2")
    except (ImportError, AttributeError, TypeError) as error:
        raise changed("openai", str(error)) from error


def async_transport() -> type[httpx2.AsyncClient]:
    """The client's own transport over aiohttp, which takes half the processor time a request, where there is one."""
    require()
    import openai

    over_aiohttp = getattr(openai, "DefaultAioHttpClient", None) if find_spec("aiohttp") else None
    return over_aiohttp or openai.DefaultAsyncHttpxClient


def transport() -> type[httpx2.Client]:
    """The client's own transport for calls that wait."""
    require()
    import openai

    return openai.DefaultHttpxClient


def request_headers(client: Any) -> list[tuple[str, str]]:
    """The headers of every request of an ``openai.AsyncOpenAI``, with its key.

    Raises:
        EngineError: the client does not give them, or without the key.
    """
    try:
        headers = client.default_headers | client.auth_headers
    except (AttributeError, TypeError) as error:
        raise changed("openai", str(error)) from error
    kept = [(k, v) for k, v in headers.items() if isinstance(v, str) and not k.lower().startswith(_OF_ITS_MAKER)]
    if not any(name.lower() == "authorization" and client.api_key in value for name, value in kept):
        raise changed("openai", "its headers have no Authorization with the key")
    return kept


def content_of(reply: Any) -> bytes:
    """The bytes of what ``with_raw_response`` gave.

    Raises:
        EngineError: it holds no HTTP answer.
    """
    try:
        content: bytes = reply.http_response.content
    except AttributeError as error:
        raise changed("openai", str(error)) from error
    return content


@cache
def errors_let_through() -> tuple[type[Exception], ...]:
    """Errors of aiohttp that its transport does not turn into httpx2's, where aiohttp is installed."""
    if not find_spec("aiohttp"):
        return ()
    import aiohttp

    try:
        from aiohttp.http_exceptions import HttpProcessingError
    except ImportError:  # Then it is a ClientError, or nobody outside meets it.
        return (aiohttp.ClientError,)
    return (aiohttp.ClientError, HttpProcessingError)
