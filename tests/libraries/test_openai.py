"""Requests carry the key over the client's own transport, or one line says what the client no longer has."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest

from latentext.errors import EngineError
from latentext.libraries import openai as used

KEY = "sk-of-a-test"


@pytest.fixture(autouse=True)
def probed_anew() -> Iterator[None]:
    used.require.cache_clear()
    yield
    used.require.cache_clear()


def test_headers_are_the_clients_with_the_key_and_without_what_it_tells_its_maker() -> None:
    client = openai.AsyncOpenAI(api_key=KEY, base_url="http://127.0.0.1:9/v1")
    headers = {name.lower(): value for name, value in used.request_headers(client)}
    assert headers["authorization"] == f"Bearer {KEY}"  # https://platform.openai.com/docs/api-reference/authentication
    assert headers["content-type"] == "application/json"
    assert [name for name in headers if "stainless" in name] == []


def test_both_transports_send_over_httpx2() -> None:
    assert issubclass(used.async_transport(), httpx2.AsyncClient)
    assert issubclass(used.transport(), httpx2.Client)


def test_without_its_own_transport_over_aiohttp_the_plain_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(openai, "DefaultAioHttpClient")
    assert used.async_transport() is openai.DefaultAsyncHttpxClient


# A client that signs each request by itself, and one that calls its headers otherwise.
KEYLESS = SimpleNamespace(api_key=KEY, default_headers={"Accept": "application/json"}, auth_headers={})
RENAMED = SimpleNamespace(api_key=KEY, headers={"Authorization": f"Bearer {KEY}"})


class OverAnotherLibrary:
    """An HTTP client of no kind that is known."""


@pytest.mark.parametrize(
    ("client", "told"),
    [(KEYLESS, "no Authorization with the key"), (RENAMED, "object has no attribute 'default_headers'")],
)
def test_a_client_without_the_headers_is_refused_in_one_line_without_the_key(client: Any, told: str) -> None:
    with pytest.raises(EngineError, match=rf"openai .* does not fit .*{told}; pip install 'openai==") as refused:
        used.request_headers(client)
    assert KEY not in str(refused.value) and "\n" not in str(refused.value)


def test_a_client_over_another_library_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "DefaultAsyncHttpxClient", OverAnotherLibrary)
    with pytest.raises(EngineError, match="its client does not send over httpx2"):
        used.require()


def test_a_raw_response_without_an_http_answer_is_named() -> None:
    assert used.content_of(SimpleNamespace(http_response=SimpleNamespace(content=b"{}"))) == b"{}"
    with pytest.raises(EngineError, match="no attribute 'http_response'"):
        used.content_of(SimpleNamespace())
