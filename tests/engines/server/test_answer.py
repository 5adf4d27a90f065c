"""Bodies of answers: texts, and every way not to be one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from transformers import AutoTokenizer

from latentext.engines.server.answer import MalformedAnswerError, completion_of, read_body, read_text
from latentext.engines.server.bounds import Worst
from latentext.engines.server.counting import counted
from latentext.engines.server.prices import shipped_prices
from latentext.engines.server.spend import dollars
from latentext.models.resolve import resolve_model
from latentext.request import Completion, Failure, Request, Usage

REQUEST = Request(3, "key", {}, [{"role": "user", "content": "Hi"}], "Hi", ())


def body(message: Any = None, finish: str | None = "stop", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello."} if message is None else message
    return {"choices": [{"message": message, "finish_reason": finish}], **fields}


def test_a_text_comes_with_its_usage_as_the_provider_counts_it() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    completion = completion_of(REQUEST, 1, read_text(body(usage=usage)))
    assert completion == Completion(3, 1, "Hello.", (), "stop", usage=Usage(9, 2, 4), served=True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"choices": []}, "no-choice"),
        ({}, "no-choice"),
        ({"choices": "x"}, "no-choice"),
        (body({"content": None}), "no-text"),
        (body({}), "no-text"),
        (body({"content": None, "refusal": "I can't."}), "refused"),
        (body({"content": "half a te"}, "content_filter"), "content-filter"),
    ],
)
def test_what_is_no_text_is_a_failure_with_its_reason(answer: dict[str, Any], reason: str) -> None:
    failure = completion_of(REQUEST, 0, read_text(answer))
    assert isinstance(failure, Failure)
    assert failure.reason == reason


def test_a_text_cut_at_the_limit_is_a_text_that_says_so() -> None:
    completion = completion_of(REQUEST, 0, read_text(body(finish="length")))
    assert isinstance(completion, Completion)
    assert completion.finish_reason == "length"


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "9", "completion_tokens": 1}, {"prompt_tokens": -1}, 5])
def test_usage_that_is_missing_or_odd_is_unknown(usage: object) -> None:
    text = read_text(body(usage=usage))
    assert text.usage is None
    spend = counted(text, Worst(30, 7), shipped_prices().of("gpt-4o"))
    assert (spend.uncertain_tokens, spend.uncertain_picodollars, spend.answers) == (30, 7, 1)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"null", b"<html>"])
def test_what_is_no_json_object_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        read_body(raw)


def test_an_answer_costs_what_its_usage_says_cache_reads_and_writes_included() -> None:
    details = {"cached_tokens": 100, "cache_write_tokens": 200}
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": details}
    spend = counted(read_text(body(usage=usage)), Worst(0, 0), shipped_prices().of("gpt-6-sol"))
    assert dollars(spend.picodollars) == Decimal("0.00202")  # 700 · 2 + 100 · 0.2 + 200 · 2.5 + 10 · 10, a million-th
    assert (spend.answers, spend.unpriced, spend.tokens) == (1, 0, 1010)


def test_a_local_tokenizer_gives_ids_that_spell_the_text_and_the_end_token_counts() -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny").path_or_id)
    text = read_text(body({"content": "hello hello hello"}))
    ended = completion_of(REQUEST, 0, text, tokenizer=tokenizer, ends_with_eos=True)
    stopped = completion_of(REQUEST, 0, text, tokenizer=tokenizer)
    assert isinstance(ended, Completion) and isinstance(stopped, Completion)
    assert ended.token_ids == (*stopped.token_ids, tokenizer.eos_token_id)
    assert tokenizer.decode(stopped.token_ids) == "hello hello hello"
