"""Addresses and keys as people copy them: without a path, with a query, with a line break."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.contract.asking import made, opened, requests
from tests.contract.raw_server import RawServer, answer
from tests.contract.test_answers_without_end import text
from tests.engines.batch.made import PatientClock

from latentext.engines.batch.remote import open_remote
from latentext.engines.server.client import ChatClient
from latentext.engines.server.credentials import server_address
from latentext.errors import CredentialsError, SpecError
from latentext.models import hub_token
from latentext.request import Completion
from latentext.spec import ApiOptions

# What each provider's own page gives as the address of its chat endpoint, for the base that the page gives.
ENDPOINTS = {
    "https://api.deepseek.com": "https://api.deepseek.com/chat/completions",
    "https://api.example.com/": "https://api.example.com/chat/completions",
    "http://host:8077": "http://host:8077/chat/completions",
    "http://host:8077/v1/": "http://host:8077/v1/chat/completions",
    "http://h/v1?api-version=1": "http://h/v1/chat/completions?api-version=1",
    "http://h?a=b%20c&a=d": "http://h/chat/completions?a=b%20c&a=d",
    "http://[::1]:8000/v1": "http://[::1]:8000/v1/chat/completions",
}


@pytest.mark.parametrize("base", ENDPOINTS)
def test_an_address_is_joined_by_its_path_and_keeps_its_query(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "invented-key-0123")
    client = ChatClient(ApiOptions(base_url=base))
    asyncio.run(client.close())
    assert client.url == ENDPOINTS[base]


@pytest.mark.parametrize(("path", "line"), [
    ("", b"POST /chat/completions HTTP/1.1"),
    ("/v1?api-version=1", b"POST /v1/chat/completions?api-version=1 HTTP/1.1"),
])  # fmt: skip
def test_a_request_arrives_at_that_path(tmp_path: Path, path: str, line: bytes) -> None:
    with (
        RawServer(lambda head, body: [answer(text("Yes."))]) as server,
        opened(server, tmp_path / "j", base_url=server.origin + path) as engine,
    ):
        (outcome,) = made(engine, requests(1))
    assert isinstance(outcome, Completion)
    assert server.asked[0].startswith(line)


def test_batches_are_asked_for_at_that_path_too() -> None:
    with RawServer(lambda head, body: [answer(b'{"data": [], "has_more": false}')]) as server:
        remote = open_remote(f"{server.origin}/v2?api-version=1", PatientClock(), key="none")
        assert remote.batches() == []
        remote = open_remote(server.origin, PatientClock(), key="none")
        assert remote.batches() == []
    first, second = (head.split(b" HTTP")[0] for head in server.asked[:2])
    assert first.startswith(b"GET /v2/batches?") and b"api-version=1" in first
    assert second.startswith(b"GET /batches")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("localhost:8000", "http://"),
        ("http://", "no host"),
        ("http://a..b/v1", "no host"),
        ("http://h:99999/v1", "ort"),
        ("http://[::1/v1", "IPv6"),
        ("http://h/v1\n", "line break"),
        ("http://h /v1", "space"),
        ("http://h/v1#x", "#"),
        ("http://h/v1/chat/completions", "/chat/completions"),
        ("http://me:secret@h/v1", "password"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(address: str, reason: str) -> None:
    with pytest.raises(SpecError, match=r"model\.api\.base_url") as refused:
        server_address(address)
    line = str(refused.value)
    assert reason in line and "\n" not in line and "secret" not in line


@pytest.mark.parametrize("key", ["invented-key\n-0123", "invented-k€y", "a\tb", "a\r\nX-Other: 1"])
def test_a_key_that_http_cannot_send_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("HF_TOKEN", key)
    for name, ask in (
        ("OPENAI_API_KEY", lambda: ChatClient(ApiOptions(base_url="http://h/v1"))),
        ("OPENAI_API_KEY", lambda: open_remote("http://h/v1", PatientClock())),
        ("HF_TOKEN", hub_token),
    ):
        with pytest.raises(CredentialsError, match=name) as refused:
            ask()
        assert key not in str(refused.value) and "invented" not in str(refused.value)


def test_spaces_and_line_breaks_around_a_key_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", " hf_invented\n")
    assert hub_token() == "hf_invented"


@pytest.mark.parametrize("name", ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
def test_other_values_that_the_client_sends_are_held_to_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "invented\nvalue")
    with pytest.raises(CredentialsError, match=name):
        ChatClient(ApiOptions(base_url="http://h/v1"))
