"""Any bytes at all as an answer, in real time and in a batch: no traceback, and every other answer is kept."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.contract.asking import made, opened, requests
from tests.contract.raw_server import RawServer, answer
from tests.contract.test_answers_without_end import finished, line, serving, text
from tests.contract.test_runs import spec_file
from tests.engines.batch.made import PatientClock

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.receipts import RecordedFailure
from latentext.engines.batch.downloading import download
from latentext.engines.batch.remote import open_remote
from latentext.engines.batch.settling import outputs_of
from latentext.engines.server.answer import MalformedAnswerError, completion_of, read_body, read_text
from latentext.engines.server.errors import error_inside, of_batch_line, of_status
from latentext.engines.server.standin import Fault, StandIn
from latentext.request import Completion, Failure

HALVES = st.characters(categories=["Cs", "L", "Cc", "Zs"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(HALVES, max_size=9)
FIELDS = (
    "choices message content finish_reason refusal error code type detail loc msg usage prompt_tokens status_code "
    "response body custom_id text reasoning_content top_logprobs status retry_after"
)
NAMES = st.sampled_from(FIELDS.split(" ")) | st.text(HALVES, max_size=3)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)
MESSAGES = st.dictionaries(NAMES, VALUES, max_size=4)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "choices": VALUES
        | st.lists(st.fixed_dictionaries({}, optional={"message": MESSAGES | VALUES, "finish_reason": VALUES})),
        "error": VALUES,
        "usage": VALUES,
        "detail": VALUES,
    },
)
HALF = b'{"choices": [{"message": {"content": "a\\ud83d"}, "finish_reason": "st\\udc00p"}]}'
ODD = [b"1e999", b"NaN", b"9" * 5000, b"[" * 2000, b"\x00", b"{}", b"null"]
WORDS = [b'"\\ud83d"', b"\xed\xa0\xbd", b"\xff\xfe", *ODD]
BYTES = st.binary(max_size=80) | st.lists(st.sampled_from(WORDS) | st.binary(max_size=9), max_size=4).map(b"".join)
BODIES = ANSWERS.map(lambda value: json.dumps(value).encode()) | BYTES
"""Answers in the protocol's form with anything in its fields, and bytes that are no answers."""


def writable(outcome: Completion | Failure) -> None:
    """A text and a failure can be written to a dataset's files as they are."""
    if isinstance(outcome, Failure):
        RecordedFailure.of(outcome).model_dump_json().encode()
        assert outcome.reason.isascii()
    else:
        outcome.text.encode()
        assert outcome.finish_reason in ("stop", "length", "unknown", "given")


@given(BODIES, st.integers(100, 599))
@settings(max_examples=300)
def test_anything_is_read_as_a_text_a_failure_or_an_error(raw: bytes, status: int) -> None:
    (request,) = requests(1)
    assert of_status(status, raw).message.isprintable()
    try:
        body = read_body(raw)
    except MalformedAnswerError:
        return
    if (error := error_inside(body)) is not None:
        assert error.message.isprintable()
        return
    writable(completion_of(request, 0, read_text(body)))


@given(st.dictionaries(NAMES, VALUES | ANSWERS, max_size=6))
@settings(max_examples=150)
def test_anything_in_a_line_of_a_batch_is_an_answer_or_an_error(document: dict[str, Any]) -> None:
    error = of_batch_line(document)
    assert error is None or error.message.isprintable()


HEADERS = st.lists(
    st.sampled_from([b"Retry-After", b"Content-Encoding", b"Location", b"Content-Type", b"Transfer-Encoding", b"X"]),
    max_size=3,
).flatmap(lambda names: st.tuples(*(st.binary(max_size=12).map(lambda v, n=name: n + b": " + v) for name in names)))
STATUSES = st.sampled_from([b"200 OK", b"200 \xff", b"204 No", b"307 On", b"301 On", b"100 Go", b"400 No", b"503 No"])
WIRES = (
    st.tuples(BODIES, HEADERS, STATUSES).map(lambda parts: answer(parts[0], *parts[1], status=parts[2]))
    | st.binary(max_size=200)
    | BODIES.map(lambda body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
)


@given(WIRES)
@example(answer(b'{"choices": [{"message": {"content": "a\\ud83d"}}]}'))
@example(answer(b"{}", b"Retry-After: Mon, 99 Foo 99999 99:99:99 +9999", status=b"503 No"))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_goes_over_the_wire_the_other_answers_are_kept(wire: bytes) -> None:
    def answered(head: bytes, body: bytes) -> Iterable[bytes]:
        return [wire if b"Prompt 1" in body else answer(text("fine"))]

    with tempfile.TemporaryDirectory() as folder, RawServer(answered) as server:
        with opened(server, Path(folder, "j"), max_tries=2, timeout=5, concurrency=1) as engine:
            try:
                outcomes = made(engine, requests(3))
            except latentext.errors.LatentextError as error:  # What every other request would meet too.
                assert len(str(error).splitlines()) == 1
                return
        for outcome in outcomes:
            writable(outcome)
        assert [outcome.text for outcome in (outcomes[0], outcomes[2])] == ["fine", "fine"]  # type: ignore[union-attr]


@given(st.lists(BODIES | BYTES, max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_in_an_output_file_the_other_lines_are_answers(lines: list[bytes]) -> None:
    good = [line("request-0-0", "one"), line("request-0-2", "three")]
    odd = [
        *lines,
        *(b'{"custom_id": "request-0-1", "response": {"status_code": 200, "body": %s}}' % raw for raw in lines),
    ]
    content = b"\n".join([*odd, b"", good[0], *odd, b"", good[1]])
    with tempfile.TemporaryDirectory() as folder, StandIn() as server:
        place, clock = finished(Path(folder)), PatientClock().clock
        with place.alone():
            serving(server, content)
            ledger = download(place, place.ledger(), open_remote(server.url, clock), clock, lambda words: None)
        outputs = outputs_of(place, ledger.parts)
        outputs.tally(["request-0-0", "request-0-1", "request-0-2"])
        texts = [read_text(found.body).text for found in outputs.answers(["request-0-0", "request-0-2"]) if found.body]
        assert texts == ["one", "three"]


@pytest.mark.parametrize("raw", [HALF, b"", *WORDS])
def test_a_run_ends_with_0_3_or_4_and_the_same_command_goes_on(tmp_path: Path, raw: bytes) -> None:
    root = tmp_path / "data"

    def odd(number: int, body: Any) -> Fault | None:
        return Fault("odd", body=raw) if body["messages"][-1]["content"] == "Say 1." else None

    with StandIn(faults=odd) as server:
        api = {"base_url": server.url, "prices": "openai", "max_tries": 1}
        spec = spec_file(tmp_path, server, count=4, model={"name": "gpt-4o", "engine": "openai", "api": api})
        code = exit_code(["run", spec, "-o", str(root)])
        assert code in (0, 4)
        assert exit_code(["run", spec, "-o", str(root)]) == code
        assert exit_code(["run", spec, "-o", str(root), "--retry-failed"]) == code
    assert len(latentext.open_dataset(root).records()) == (4 if code == 0 else 3)
