"""What a server may answer to calls about files and batches: nothing ends in a traceback or passes for another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engines.batch.made import PatientClock, workspace

from latentext.engines.batch.remote import RefusedError, Remote, ReplyLost, open_remote
from latentext.engines.batch.submitting import submit
from latentext.engines.server.standin import StandIn
from latentext.engines.server.standin.batch_faults import BatchFaults
from latentext.engines.server.standin.batches import BatchDesk
from latentext.engines.server.standin.http import HttpReply

READING: dict[str, Callable[[Remote], object]] = {
    "batch": lambda remote: remote.batch("batch_1"),
    "batches": lambda remote: remote.batches(),
    "cancel": lambda remote: remote.cancel("batch_1"),
    "files": lambda remote: remote.files(),
}
SENSELESS = {
    "half an object": HttpReply(body=b'{"id": "batch_1", "status": "compl'),
    "a page of HTML": HttpReply(body=b"<html>Sign in</html>", content_type="text/html"),
    "an empty object": HttpReply(body=b"{}"),
    "a list": HttpReply(body=b"[]"),
    "a status of tomorrow": HttpReply(body=b'{"id": "batch_1", "status": "sleeping", "data": [{"id": ""}]}'),
    "500": HttpReply(500, b'{"error": {"message": "The server had an error"}}'),
    "502": HttpReply(502, b"<html>Bad Gateway</html>", content_type="text/html"),
    "nothing": None,
}


def answering(server: StandIn, reply: HttpReply | None) -> Remote:
    """A connection to a server that answers everything alike."""
    for method in ("GET", "POST", "DELETE"):
        for room in ("/v1/files", "/v1/batches"):
            server.route(method, room, lambda request: reply)
    return open_remote(server.url, PatientClock().clock)


@pytest.mark.parametrize("call", READING)
@pytest.mark.parametrize("reply", SENSELESS)
def test_a_senseless_answer_is_asked_for_again_and_then_an_error_of_one_line(call: str, reply: str) -> None:
    with StandIn() as server, pytest.raises(RefusedError) as error:
        READING[call](answering(server, SENSELESS[reply]))
    assert error.value.error.retried
    assert error.value.exit_code == 1
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("reply", SENSELESS)
def test_after_a_senseless_answer_to_a_creation_nobody_knows(reply: str, tmp_path: Path) -> None:
    (tmp_path / "file.jsonl").write_text("{}\n")
    with StandIn() as server:
        remote = answering(server, SENSELESS[reply])
        with pytest.raises(ReplyLost):
            remote.create("file-1", "/v1/chat/completions", "tag")
        if reply != "a status of tomorrow":  # Which is a good enough file.
            with pytest.raises(ReplyLost):
                remote.upload(tmp_path / "file.jsonl", "name")


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (401, "invalid_api_key", 2),
        (403, None, 2),
        (404, "model_not_found", 2),
        (400, "unsupported_parameter", 2),
        (429, "insufficient_quota", 3),
    ],
)
def test_what_cannot_pass_stops_at_once_and_leaves_the_batch_to_be_sent(
    tmp_path: Path, status: int, code: str | None, exit_code: int
) -> None:
    place, clock = workspace(tmp_path, requests=1), PatientClock()
    body = b'{"error": {"message": "No: sk-abcdef1234567890", "code": "%s"}}' % (code or "no").encode()
    with StandIn() as server, place.alone():
        remote = answering(server, HttpReply(status, body))
        with pytest.raises(RefusedError) as error:
            submit(place, place.ledger(), remote, clock.clock, print)
    assert error.value.exit_code == exit_code
    assert "abcdef1234567890" not in str(error.value)
    assert clock.waited == 0
    assert place.ledger().part(0).step == "planned"
    with StandIn() as server, place.alone():
        desk = BatchDesk(server, BatchFaults())
        submit(place, place.ledger(), open_remote(server.url, clock.clock), clock.clock, print)
        assert desk.created == 1
