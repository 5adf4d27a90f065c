"""Answers that servers of OpenAI's protocol really give, one by one: what becomes of each in real time and in a batch.

The bodies were collected from proxies, from servers of one's own and from public bug reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.contract.asking import made, only, opened, requests

from latentext.engines.batch.joining import read_outputs
from latentext.engines.server.standin import Fault, StandIn
from latentext.errors import SpecError
from latentext.request import Completion, Failure
from latentext.studies.pairs.proposal_batches import read_replies


def choice(content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": content, **message}, "finish_reason": finish}]}


def answering(body: Mapping[str, Any], status: int = 200) -> Fault:
    """The server gives this body; halves of surrogate pairs are spelled as JSON escapes."""
    return Fault("case", status, json.dumps(body).encode())


PARTS = [{"type": "text", "text": "two "}, {"type": "image", "url": "x"}, {"type": "text", "text": "parts"}]

TEXTS = {
    "half-surrogate": (choice("sure \ud83d"), "sure \ufffd", "stop"),
    "surrogate-in-finish-reason": (choice("ok", "st\udc00op"), "ok", "unknown"),
    "limit-by-another-name": (choice("one two three", "max_tokens"), "one two three", "length"),
    "limit-upper-case": (choice("one two three", "MAX_TOKENS"), "one two three", "length"),
    "model-length": (choice("one two", "model_length"), "one two", "length"),
    "null-finish": (choice("hi", None), "hi", "unknown"),
    "content-parts": (choice(PARTS), "two parts", "stop"),
    "halves-in-two-parts": (choice([{"text": "\ud83d"}, {"text": "\ude00"}]), "\U0001f600", "stop"),
    "surrogates-in-names": ({**choice("ok"), "id": "\ud800", "model": "\udfff", "\udbff": 1}, "ok", "stop"),
    "an-error-that-is-null": ({**choice("ok"), "error": None}, "ok", "stop"),
    "an-empty-text": (choice(""), "", "stop"),
}

FAILURES = {
    "abort-with-half-a-text": (choice("I was about", "abort"), "aborted", "abort"),
    "only-reasoning": (
        choice(None, "length", reasoning_content="Let me think about the"),
        "only-reasoning",
        "the limit of tokens was spent on reasoning: Let me think about the",
    ),
    "only-reasoning-under-another-name": (choice("", "MAX_TOKENS", reasoning="Hm"), "only-reasoning", "reasoning: Hm"),
    "parts-without-a-text": (choice([{"type": "thinking", "thinking": "Hm"}]), "no-text", "has no text"),
    "half-a-surrogate-in-a-refusal": (choice(None, refusal="no \udc00"), "refused", "no"),
    "refused-by-the-finish-reason": (choice("I can't", "refusal"), "refused", "I can't"),
    "filtered-by-another-name": (choice("half", "SAFETY"), "content-filter", "filter"),
    "error-in-the-choice": (
        {"choices": [{"message": {"content": "ha"}, "finish_reason": "error", "error": {"message": "upstream died"}}]},
        "aborted",
        "upstream died",
    ),
    "an-error-that-is-no-pass": (
        {"error": {"code": 400, "message": "no \ud800 way"}, "choices": []},
        "bad-request",
        "way",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_text_is_kept_and_its_end_is_one_of_our_words(tmp_path: Path, case: str) -> None:
    body, text, finish = TEXTS[case]
    outcome, _, _ = only([answering(body)], tmp_path / "j")
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.finish_reason) == (text, finish)


@pytest.mark.parametrize("case", FAILURES)
def test_what_is_no_text_fails_with_a_reason_in_the_servers_words(tmp_path: Path, case: str) -> None:
    body, reason, words = FAILURES[case]
    outcome, server, _ = only([answering(body)], tmp_path / "j")
    assert isinstance(outcome, Failure)
    assert outcome.reason == reason
    assert words in outcome.message and outcome.message.isprintable()
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [429, "429", "rate_limit_exceeded"])
def test_an_error_inside_a_good_status_is_waited_for_and_tried_again_for_nothing(tmp_path: Path, code: object) -> None:
    busy = {"choices": None, "error": {"code": code, "message": "upstream is busy, retry shortly"}}
    outcome, server, spent = only([answering(busy)], tmp_path / "j")
    assert isinstance(outcome, Completion)
    assert (len(server.asked), spent.answers, spent.uncertain_tokens) == (2, 1, 0)
    outcome, server, spent = only([answering(busy)] * 3, tmp_path / "k")
    assert isinstance(outcome, Failure) and outcome.reason == "rate-limited"
    assert "upstream is busy, retry shortly" in outcome.message
    assert (len(server.asked), spent.tokens, spent.uncertain_tokens) == (3, 0, 0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": [{"loc": ["body", "top_p"], "msg": "must be at most 1"}]}, "top_p: must be at most 1"),
        ({"detail": "not today"}, "not today"),
        ({"message": "so not"}, "so not"),
        ({"errors": [{"message": "one"}, {"message": "two"}]}, "one; two"),
        ({"error": {"message": {"message": "deep"}}}, "deep"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_server_wherever_they_stand(
    tmp_path: Path, body: dict[str, Any], words: str
) -> None:
    try:
        outcome, _, _ = only([answering(body, 422)], tmp_path / "j")
    except SpecError as error:  # A field that every request has: the run stops.
        assert "top_p" in words and words in str(error)
        return
    assert isinstance(outcome, Failure) and words in outcome.message


@pytest.mark.parametrize("case", [*TEXTS, *FAILURES])
def test_a_line_of_a_batch_is_read_like_an_answer_in_real_time(tmp_path: Path, case: str) -> None:
    from latentext.engines.server.answer import read_text

    body, *expected = {**TEXTS, **FAILURES}[case]
    line = {"custom_id": "a", "response": {"status_code": 200, "body": body}}
    (tmp_path / "output_batch0.jsonl").write_bytes(json.dumps(line).encode() + b"\n")
    (answer,) = read_outputs([tmp_path / "output_batch0.jsonl"], asked={"a"}).answers(["a"])
    if answer.body is None:
        assert answer.error is not None and expected[1] in answer.error.message
        return
    text = read_text(answer.body)
    assert [text.text, text.finish_reason] == expected if case in TEXTS else text.reason == expected[0]


def test_answers_of_an_old_journal_are_read_by_the_same_rules(tmp_path: Path) -> None:
    from latentext.engines.server.journal import Journal, JournalAnswer
    from latentext.engines.server.spend import Spend

    with Journal(tmp_path / "j") as journal:
        raw = json.dumps(choice("a\ud83d")).encode()
        journal.put("gpt-4o", JournalAnswer("key0", 0, raw, Spend(1))).result()
        kept = json.dumps(choice("b\ud83d"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        journal.put("gpt-4o", JournalAnswer("key1", 0, kept, Spend(1))).result()
        broken = json.dumps(choice("c X")).encode().replace(b"X", b"\xff")
        journal.put("gpt-4o", JournalAnswer("key2", 0, broken, Spend(1))).result()
    with StandIn() as server, opened(server, tmp_path / "j") as engine:
        outcomes = made(engine, requests(3))
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Completion)] == [
        "a\ufffd",
        "b\ufffd",
        "c \ufffd",
    ]
    assert not server.asked


def test_proposals_of_a_batch_tell_a_refusal_from_an_answer_that_failed(tmp_path: Path) -> None:
    cases = ["limit-upper-case", "abort-with-half-a-text", "only-reasoning", "filtered-by-another-name"]
    with (tmp_path / "output_batch0.jsonl").open("w") as file:
        for number, case in enumerate(cases):
            response = {"status_code": 200, "body": {**TEXTS, **FAILURES}[case][0]}
            file.write(json.dumps({"custom_id": f"request-0-{number}", "response": response}) + "\n")
    replies = list(read_replies(tmp_path, None))
    assert [(reply.finish_reason, reply.failed) for reply in replies] == [
        ("length", False),
        ("aborted", True),
        ("only-reasoning", True),
        ("refusal", False),
    ]
