"""Errors that servers put into forms of their own: what they say reaches the user, and their code decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_runs import run, spec_file

from latentext.engines.server.standin import Fault, StandIn

PAGE = b"<!DOCTYPE html><html><head><title>Just a moment&hellip;</title></head><body><b>Wait</b></body></html>"
STREAM = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'
NO_MODEL = {"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404}


def answered(status: int, body: Any) -> Fault:
    return Fault("odd", status, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("fault", "code", "asked", "said"),
    [
        (answered(200, NO_MODEL), 2, 1, "the server has no such model: The model `m` does not exist."),
        (answered(200, {"success": False, "errors": [{"code": 7000, "message": "No route"}]}), 4, 2, "No route"),
        (answered(200, {"detail": "Overloaded"}), 4, 2, "server-error, such as request 0: Overloaded"),
        (answered(404, {"detail": "Not Found"}), 2, 1, "model.api.base_url: the server answers no chats at this addr"),
        (answered(403, PAGE), 2, 1, "the server refused the key: Just a moment…;"),
        (answered(200, PAGE), 4, 2, "an answer of 101 bytes is no JSON: Just a moment…"),
        (answered(200, STREAM), 4, 2, 'is no JSON: data: {"choices"'),
        (answered(200, b" "), 4, 2, "the answer is empty"),
        (answered(200, {"choices": [{"text": "old form"}]}), 4, 1, "the answer has no text in message.content"),
        (answered(200, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 0}}), 4, 1, "without a text"),
    ],
)
def test_an_error_in_a_form_of_its_own_is_told_in_the_servers_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Fault, code: int, asked: int, said: str
) -> None:
    with StandIn(faults=lambda number, body: fault) as server:
        spec = spec_file(tmp_path, server, count=1)
        assert run(spec, "-o", str(tmp_path / "data")) == code
        assert len(server.asked) == asked
    heard = capsys.readouterr()
    assert said in heard.out + heard.err
