"""Redirects: the prompts go to the server that was named, and to no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.contract.asking import made, opened, requests
from tests.contract.raw_server import RawServer, answer
from tests.contract.test_answers_without_end import text
from tests.engines.batch.made import PatientClock, workspace

from latentext.engines.batch.remote import RefusedError, open_remote
from latentext.engines.batch.submitting import submit
from latentext.engines.server.standin import StandIn
from latentext.errors import SpecError
from latentext.request import Completion, Failure


def redirecting(status: int, location: str) -> bytes:
    return answer(b"", b"Location: " + location.encode("latin-1"), status=b"%d Elsewhere" % status)


ELSEWHERE = ["http://127.0.0.1:{port}/v1/x", "//127.0.0.1:{port}/v1/x", "https://localhost/v1/x", "ftp://a/b"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ELSEWHERE)
def test_another_server_gets_nothing_and_is_named(tmp_path: Path, status: int, location: str) -> None:
    with StandIn() as other:
        place = location.format(port=other.url.split(":")[2].split("/")[0])
        with (
            RawServer(lambda head, body: [redirecting(status, place)]) as server,
            opened(server, tmp_path / "j", concurrency=1) as engine,
            pytest.raises(SpecError, match=place.split("//")[1].replace(".", r"\.")) as error,
        ):
            made(engine, requests(9))
        assert other.asked == []
    assert error.value.exit_code == 2 and "base_url" in str(error.value)
    assert len(server.asked) == 1
    assert engine.spent.tokens == engine.spent.uncertain_tokens == 0


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_server_keeps_the_question(tmp_path: Path, status: int) -> None:
    def wire(head: bytes, body: bytes) -> Iterable[bytes]:
        if head.startswith(b"POST /v1/elsewhere"):
            return [answer(text("Prompt 0" if b"Prompt 0" in body else "no question"))]
        return [redirecting(status, "/v1/elsewhere")]

    with RawServer(wire) as server, opened(server, tmp_path / "j") as engine:
        (outcome,) = made(engine, requests(1))
    assert isinstance(outcome, Completion) and outcome.text == "Prompt 0"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_ask_without_the_question_is_refused(tmp_path: Path, status: int) -> None:
    with (
        RawServer(lambda head, body: [redirecting(status, "/v1/elsewhere")]) as server,
        opened(server, tmp_path / "j") as engine,
        pytest.raises(SpecError, match=f"/v1/elsewhere by status {status}"),
    ):
        made(engine, requests(1))
    assert all(head.startswith(b"POST") for head in server.asked)


@pytest.mark.parametrize("location", ["http://[::1", "http://a:b/", "\xff\xfe", "http://%zz", "x" * 9000])
def test_a_redirect_to_nowhere_is_no_traceback(tmp_path: Path, location: str) -> None:
    with (
        RawServer(lambda head, body: [redirecting(307, location)]) as server,
        opened(server, tmp_path / "j", max_tries=1) as engine,
    ):
        try:
            (outcome,) = made(engine, requests(1))
        except SpecError as error:
            assert "redirects" in str(error)
        else:
            assert isinstance(outcome, Failure)


def test_a_redirect_in_circles_ends_as_a_failure(tmp_path: Path) -> None:
    with (
        RawServer(lambda head, body: [redirecting(308, "/v1/chat/completions")]) as server,
        opened(server, tmp_path / "j", max_tries=1) as engine,
    ):
        (outcome,) = made(engine, requests(1))
    assert isinstance(outcome, Failure) and "redirect" in outcome.message


@pytest.mark.parametrize("status", [301, 307, 308])
def test_files_and_batches_do_not_follow_to_another_server_either(tmp_path: Path, status: int) -> None:
    place, clock = workspace(tmp_path, requests=1), PatientClock()
    with StandIn() as other:
        location = other.url + "/files/file-1/content"
        with RawServer(lambda head, body: [redirecting(status, location)]) as server, place.alone():
            remote = open_remote(server.url, clock.clock)
            with pytest.raises(RefusedError, match="redirects to another server") as error:
                submit(place, place.ledger(), remote, clock.clock, print)
            with pytest.raises(RefusedError, match="redirects to another server"):
                remote.content("file-1", print)
            with pytest.raises(RefusedError, match="redirects to another server"):
                remote.batches()
    assert error.value.exit_code == 2
    assert place.ledger().part(0).step == "planned"
    assert clock.waited == 0
