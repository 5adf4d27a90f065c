"""Errors of servers are decided once: kind, what follows from it, and no key in any text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentext.engines.server.errors import ApiErrorKind, of_batch_line, of_status, stopping_error
from latentext.errors import BudgetError, CredentialsError, EngineError, SpecError

KIND = ApiErrorKind


@pytest.mark.parametrize(
    ("status", "inner", "kind"),
    [
        (401, {"message": "no", "code": "invalid_api_key"}, KIND.AUTH),
        (403, {"message": "no"}, KIND.AUTH),
        (404, {"message": "no", "code": "model_not_found"}, KIND.NOT_FOUND),
        (403, {"message": "no", "code": "model_not_found"}, KIND.NOT_FOUND),
        (429, {"message": "slow", "code": "rate_limit_exceeded"}, KIND.RATE),
        (429, {"message": "no credit", "code": "insufficient_quota"}, KIND.QUOTA),
        (429, {"message": "no credit", "code": None, "type": "insufficient_quota"}, KIND.QUOTA),
        (400, {"message": "too long", "code": "context_length_exceeded"}, KIND.CONTEXT),
        (400, {"message": "This model's maximum context length is 8192 tokens", "code": None}, KIND.CONTEXT),
        (400, {"message": "no", "code": "content_policy_violation"}, KIND.CONTENT),
        (400, {"message": "what?", "type": "invalid_request_error"}, KIND.BAD_REQUEST),
        (422, {"message": "what?"}, KIND.BAD_REQUEST),
        (500, {"message": "oh"}, KIND.SERVER),
        (503, {"message": "busy"}, KIND.SERVER),
        (408, {"message": "late"}, KIND.SERVER),
    ],
)
def test_every_status_has_one_kind(status: int, inner: dict[str, str], kind: ApiErrorKind) -> None:
    assert of_status(status, {"error": inner}).kind is kind


@pytest.mark.parametrize("body", ["<html>502</html>", b"\xff\xfe", None, {"error": "plain words"}, {"detail": "x"}, []])
def test_bodies_of_any_form_give_an_error_in_one_line(body: object) -> None:
    error = of_status(502, body)
    assert error.kind is KIND.SERVER
    assert error.message and "\n" not in error.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Thu, 26 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 26 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 26026 28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    noon = 1795694400.0  # Thu, 26 Nov 2026 12:00:00 GMT
    assert of_status(429, {}, headers, now=noon).retry_after == seconds


def test_what_passes_by_itself_is_tried_again_and_what_every_request_would_meet_stops_the_run() -> None:
    assert of_status(429, {}).retried
    assert of_status(500, {}).retried
    assert not of_status(400, {}).retried
    assert of_status(401, {}).stops
    assert of_status(404, {}).stops
    assert of_status(429, {"error": {"code": "insufficient_quota"}}).stops
    assert not of_status(429, {}).stops
    assert not of_status(400, {"error": {"code": "content_policy_violation"}}).stops


@pytest.mark.parametrize(
    ("status", "code", "kind", "exit_code"),
    [
        (401, None, CredentialsError, 2),
        (403, None, CredentialsError, 2),
        (404, "model_not_found", SpecError, 2),
        (400, "unsupported_parameter", SpecError, 2),
        (429, "insufficient_quota", BudgetError, 3),
        (500, None, EngineError, 1),
    ],
)
def test_a_stopped_run_has_the_exit_code_of_its_cause(
    status: int, code: str | None, kind: type[Exception], exit_code: int
) -> None:
    error = stopping_error(of_status(status, {"error": {"message": "m", "code": code}}))
    assert type(error) is kind
    assert error.exit_code == exit_code


def test_a_key_in_the_words_of_a_server_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "invented-key-0123")
    words = "Incorrect API key provided: invented-key-0123 (or sk-proj-abcdefgh); Bearer xyz.abc"
    message = of_status(401, {"error": {"message": words}}).message
    assert "invented-key" not in message
    assert "sk-proj" not in message
    assert "xyz" not in message


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("error_400_unsupported_parameter.jsonl", KIND.BAD_REQUEST),
        ("error_429_insufficient_quota.jsonl", KIND.QUOTA),
        ("error_file_context_length.jsonl", KIND.CONTEXT),
    ],
)
def test_recorded_lines_of_batch_error_files_have_their_kind(materials: Path, file: str, kind: ApiErrorKind) -> None:
    lines = (materials / "batch" / file).read_text().splitlines()
    errors = [of_batch_line(json.loads(line)) for line in lines if line]
    assert {error.kind for error in errors if error} == {kind}
    assert None not in errors


def test_a_recorded_batch_answer_is_no_error_and_an_expired_line_is_one(materials: Path) -> None:
    line = json.loads((materials / "batch" / "litellm_output.jsonl").read_text().splitlines()[0])
    assert of_batch_line(line) is None
    expired = {"custom_id": "a", "response": None, "error": {"code": "batch_expired", "message": "not in time"}}
    error = of_batch_line(expired)
    assert error is not None and error.code == "batch_expired"
    assert of_batch_line({"custom_id": "a"}) is not None
