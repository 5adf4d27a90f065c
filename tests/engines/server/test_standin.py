"""The stand-in server: plain answers, counted requests, and faults on demand."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from latentext.engines.server.answer import read_text
from latentext.engines.server.standin import Fault, StandIn

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


def ask(server: StandIn, body: dict[str, Any] | None = None, path: str = "/chat/completions", **headers: str) -> Any:
    data = json.dumps(body or BODY).encode()
    with urllib.request.urlopen(urllib.request.Request(server.url + path, data, headers), timeout=5) as answer:
        return json.loads(answer.read())


def test_equal_requests_get_equal_texts_and_every_request_is_counted() -> None:
    with StandIn() as server:
        first, second, other = ask(server), ask(server), ask(server, {**BODY, "seed": 2})
    assert read_text(first).text == read_text(second).text != read_text(other).text
    assert read_text(first).usage is not None
    assert server.billed() == {"Hi": 3}


def test_faults_come_in_their_order_and_then_answers_are_good() -> None:
    with StandIn(faults=[Fault.too_many(0.5), None, Fault.no_choice()]) as server:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(server)
        refused.value.close()
        assert (refused.value.code, refused.value.headers["retry-after"]) == (429, "0.5")
        assert read_text(ask(server)).text
        assert read_text(ask(server)).reason == "no-choice"
        assert read_text(ask(server)).text
    assert [asked.billed for asked in server.asked] == [False, True, True, True]


def test_connections_can_be_dropped_and_cut() -> None:
    with StandIn(faults=[Fault.dropped(), Fault.cut()]) as server:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError, urllib.error.URLError)):
            ask(server)
        with pytest.raises(http.client.IncompleteRead):
            ask(server)


def test_a_key_can_be_asked_for() -> None:
    with StandIn(key="right") as server:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(server, Authorization="Bearer wrong")
        refused.value.close()
        assert refused.value.code == 401
        assert ask(server, Authorization="Bearer right")["object"] == "chat.completion"


def test_an_address_that_it_does_not_know_is_a_404_and_bad_json_a_400() -> None:
    with StandIn() as server:
        for path, data, status in (("/nowhere", b"{}", 404), ("/chat/completions", b"{", 400)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(server.url + path, data, timeout=5)
            refused.value.close()
            assert refused.value.code == status


def test_two_requests_on_one_connection_and_a_body_in_pieces_are_understood() -> None:
    with StandIn() as server:
        host = server.url.removeprefix("http://").removesuffix("/v1")
        connection = http.client.HTTPConnection(host, timeout=5)
        pieces = [b'{"messages": [{"content"', b': "Hi"}]}']
        headers = {"content-length": str(len(b"".join(pieces)))}
        for _ in range(2):
            connection.request("POST", "/v1/chat/completions", body=iter(pieces), headers=headers)
            assert json.loads(connection.getresponse().read())["object"] == "chat.completion"
        connection.close()
