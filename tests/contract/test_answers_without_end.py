"""Answers of any size: what is beyond the limit is given up with its reason, in little memory, and nothing else is."""

from __future__ import annotations

import gzip
import json
import resource
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from tests.contract.asking import made, opened, requests
from tests.contract.raw_server import RawServer, Wire, answer
from tests.engines.batch.made import PatientClock, workspace

from latentext.engines.batch.downloading import download
from latentext.engines.batch.joining import read_outputs
from latentext.engines.batch.ledger import BatchStatus, Step
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.remote import RefusedError, open_remote
from latentext.engines.batch.settling import outputs_of, settle
from latentext.engines.server.answer_size import MOST_ANSWER_BYTES
from latentext.engines.server.standin import StandIn
from latentext.engines.server.standin.http import HttpReply, HttpRequest
from latentext.request import Completion, Failure
from latentext.spec.limits import Limits

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = b"x" * (1 << 20)
CHUNK = b"%x\r\n" % len(MIB) + MIB + b"\r\n"


def text(words: str) -> bytes:
    choice = {"message": {"content": words}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}).encode()


@cache
def bomb(megabytes: int, times: int = 1) -> bytes:
    """So many megabytes of zeros, packed, and packed again."""
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packed.compress(b"0" * (1 << 20)) for _ in range(megabytes)) + packed.flush()
    for _ in range(times - 1):
        body = gzip.compress(body)
    return body


def endless(head: bytes, body: bytes) -> Iterable[bytes]:
    return chain([CHUNKED], repeat(CHUNK))


def large_text(head: bytes, body: bytes) -> Iterable[bytes]:
    start, end = text("@").split(b"@")
    yield answer(b"").replace(b"Content-Length: 0", b"Content-Length: %d" % (len(start) + len(end) + 300 * len(MIB)))
    yield from chain([start], repeat(MIB, 300), [end])


BEYOND: dict[str, Wire] = {
    "endless": endless,
    "large text": large_text,
    "gzip bomb": lambda head, body: [answer(bomb(256), b"Content-Encoding: gzip")],
    "bomb in a bomb": lambda head, body: [answer(bomb(256, 2), b"Content-Encoding: gzip, gzip")],
}


@pytest.mark.parametrize("case", BEYOND)
def test_an_answer_beyond_its_tokens_fails_with_the_limit_and_the_others_are_kept(tmp_path: Path, case: str) -> None:
    def wire(head: bytes, body: bytes) -> Iterable[bytes]:
        return BEYOND[case](head, body) if b"Prompt 1" in body else [answer(text("fine"))]

    if "bomb" in case:
        list(BEYOND[case](b"", b""))  # Made before memory is looked at.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with RawServer(wire) as server, opened(server, tmp_path / "j") as engine:
        outcomes = made(engine, requests(4))
        spent = engine.spent
    assert [type(outcome) for outcome in outcomes] == [Completion, Failure, Completion, Completion]
    failure = outcomes[1]
    assert isinstance(failure, Failure) and failure.reason == "answer-too-large"
    assert "1.0 MiB, the limit for 8 tokens" in failure.message
    assert len(server.asked) == 4  # It was paid: it is not asked for again.
    assert spent.uncertain_tokens > 0
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << 10, f"{grown} KiB"


@pytest.mark.parametrize("status", [b"400 Bad Request", b"503 Unavailable"])
def test_of_an_endless_error_no_more_than_the_beginning_is_read(tmp_path: Path, status: bytes) -> None:
    def wire(head: bytes, body: bytes) -> Iterable[bytes]:
        return chain([CHUNKED.replace(b"200 OK", status)], [b"5\r\nNo! \r\n"], repeat(CHUNK))

    with RawServer(wire) as server, opened(server, tmp_path / "j", max_tries=2) as engine:
        (outcome,) = made(engine, requests(1))
    assert isinstance(outcome, Failure) and outcome.message.startswith("No! xxx")
    assert len(outcome.message) <= 300
    assert server.sent < 64 << 20


HEADERS: dict[str, bytes] = {
    "too many": b"\r\n".join(b"X-%d: y" % number for number in range(30_000)),
    "too long": b"X: " + b"y" * 300_000,
    "no names": b"\r\n".join([b": y", b"\xff\xfe", b"no colon"]),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_storm_of_headers_is_a_failure_of_its_request_and_no_traceback(tmp_path: Path, case: str) -> None:
    def wire(head: bytes, body: bytes) -> Iterable[bytes]:
        return [answer(text("fine"), *([HEADERS[case]] if b"Prompt 1" in body else []))]

    with RawServer(wire) as server, opened(server, tmp_path / "j", max_tries=2) as engine:
        outcomes = made(engine, requests(4))
    assert [type(outcome) for outcome in outcomes] == [Completion, Failure, Completion, Completion]


def finished(folder: Path) -> Any:
    """A workspace whose only batch, of three requests, has ended at the server."""
    place = workspace(folder, requests=3)
    (part,) = place.ledger().parts
    ended = {"step": Step.SUBMITTED, "batch_id": "b", "status": BatchStatus.COMPLETED, "output_file_id": "file-1"}
    place.save_part(place.ledger(), part.model_copy(update=ended))
    return place


def line(name: str, words: str) -> bytes:
    body = json.loads(text(words))
    return json.dumps({"custom_id": name, "response": {"status_code": 200, "body": body}}).encode() + b"\n"


def serving(server: StandIn, content: bytes, **headers: str) -> None:
    def handle(request: HttpRequest) -> HttpReply:
        if request.path.endswith("/content"):
            return HttpReply(body=content, headers=headers)
        return HttpReply(body=b'{"id": "file-1", "bytes": null}')

    server.route("GET", "/v1/files", handle)


def test_of_an_output_file_beyond_the_limit_whole_lines_are_kept_and_the_rest_fails_unasked(tmp_path: Path) -> None:
    place, clock, said = finished(tmp_path), PatientClock().clock, list[str]()
    whole = line("request-0-0", "one") + line("request-0-1", "two")
    packed = gzip.compress(whole + b" " * (32 << 20))
    with StandIn() as server, place.alone():
        serving(server, packed, **{"content-encoding": "gzip"})
        remote = open_remote(server.url, clock)
        ledger = download(place, place.ledger(), remote, clock, said.append, most=4 << 20)
    assert place.output_file(0).stat().st_size < 6 << 20
    assert any("larger than 4 MiB, the limit" in words for words in said)
    with place.alone():
        ledger = settle(place, ledger, clock, said.append, attempts=3, limits=BatchLimits())
    (part,) = ledger.parts  # Nothing is asked again: the third request may have been answered, and paid.
    assert part.unanswered == {"too-large": 1}
    texts = outputs_of(place, ledger.parts).answers(["request-0-0", "request-0-1"])
    assert [answer.outcome for answer in texts] == ["answered", "answered"]


def test_a_line_beyond_its_requests_tokens_is_a_failure_and_the_lines_around_it_are_answers(tmp_path: Path) -> None:
    place = finished(tmp_path)
    place.outputs.mkdir()
    lines = [line("request-0-0", "one"), line("request-0-1", "x" * (2 << 20)), line("request-0-2", "three")]
    place.output_file(0).write_bytes(b"".join(lines))
    first, second, third = outputs_of(place, place.ledger().parts).answers(f"request-0-{n}" for n in range(3))
    assert (first.outcome, second.outcome, third.outcome) == ("answered", "too-large", "answered")
    assert second.error is not None and not second.error.retried and "the limit" in second.error.message


@pytest.mark.slow
def test_a_line_of_any_length_is_passed_over_and_its_request_named(tmp_path: Path) -> None:
    path = tmp_path / "output_batch0.jsonl"
    with path.open("wb") as file:
        file.write(line("a", "one") + b'{"custom_id": "b", "x": "')
        for _ in range(3 * MOST_ANSWER_BYTES >> 20):
            file.write(MIB)
        file.write(b'"}\n' + line("c", "three"))
    outputs = read_outputs([path], asked=["a", "b", "c"])
    assert [answer.outcome for answer in outputs.answers("abc")] == ["answered", "too-large", "answered"]


def test_an_endless_answer_about_a_batch_is_refused(tmp_path: Path) -> None:
    def wire(head: bytes, body: bytes) -> Iterator[bytes]:
        yield CHUNKED
        yield from repeat(CHUNK)

    with RawServer(wire) as server, pytest.raises(RefusedError, match=r"64\.0 MiB, the limit"):
        open_remote(server.url, PatientClock().clock).batch("batch_1")
    assert len(server.asked) == 1


def test_the_journal_is_whole_after_answers_without_end(tmp_path: Path) -> None:
    with RawServer(endless) as server, opened(server, tmp_path / "j", Limits(max_tokens_total=10_000)) as engine:
        assert {type(outcome) for outcome in made(engine, requests(6))} == {Failure}
    with StandIn() as fine, opened(fine, tmp_path / "j") as engine:
        assert {type(outcome) for outcome in made(engine, requests(6))} == {Completion}
