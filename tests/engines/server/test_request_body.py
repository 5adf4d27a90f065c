"""Bodies of requests, and what is refused before anything is sent."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from latentext.engines.server.bounds import output_bound, prompt_bound, worst_case
from latentext.engines.server.prices import shipped_prices
from latentext.engines.server.request_body import chat_body, draw_seed, refuse_unsupported
from latentext.errors import SpecError
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits

MESSAGES = [{"role": "user", "content": "Grüße"}]


def model(name: str = "gpt-4o", **request: Any) -> ModelSpec:
    return ModelSpec(name=name, engine="openai", api=ApiOptions(request=request))


def test_a_body_has_what_the_decoding_says_in_the_names_of_the_protocol() -> None:
    decoding = Decoding(temperature=0.8, top_p=0.9, presence_penalty=0.5, frequency_penalty=-0.5, stop="\n\n")
    body = chat_body(model(), MESSAGES, decoding, seed=7)
    assert body == {
        "model": "gpt-4o",
        "messages": MESSAGES,
        "max_tokens": 200,
        "temperature": 0.8,
        "top_p": 0.9,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "stop": ["\n\n"],
        "seed": 7,
    }


@pytest.mark.parametrize("name", ["o1", "o3-mini", "o4-mini", "gpt-5", "gpt-5.4-mini", "gpt-6-sol"])
def test_models_that_reason_get_the_name_of_the_limit_that_they_take(name: str) -> None:
    assert "max_completion_tokens" in chat_body(model(name), MESSAGES, Decoding())
    assert "max_tokens" not in chat_body(model(name), MESSAGES, Decoding())


def test_fields_of_ones_own_go_before_ours_and_null_leaves_a_field_out() -> None:
    body = chat_body(model(top_k=40, temperature=None, max_tokens=9), MESSAGES, Decoding(), seed=3)
    assert body["top_k"] == 40
    assert "temperature" not in body
    assert body["max_tokens"] == 9


@pytest.mark.parametrize(
    "option",
    [
        {"top_k": 5},
        {"min_p": 0.1},
        {"repetition_penalty": 1.2},
        {"no_repeat_ngram_size": 3},
        {"min_new_tokens": 3},
        {"logprobs": True},
        {"entropy": True},
    ],
)
def test_decoding_that_the_protocol_lacks_is_refused_by_name(option: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"decoding.{next(iter(option))}"):
        refuse_unsupported(model(), Decoding(**option))


def test_an_expected_text_changes_nothing_and_is_no_reason_to_refuse() -> None:
    refuse_unsupported(model(), Decoding(expect="prompt"))


@pytest.mark.parametrize("name", ["model", "messages", "n", "stream"])
def test_fields_that_are_the_engines_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=f"model.api.request.{name}"):
        refuse_unsupported(model(**{name: 1}), Decoding())


def test_a_key_among_the_options_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "invented-key-0123")
    with pytest.raises(SpecError, match=r"model\.api\.request") as refused:
        refuse_unsupported(model(user="invented-key-0123"), Decoding())
    assert "invented-key" not in str(refused.value)
    with_password = ModelSpec(
        name="m", engine="openai", api=ApiOptions(base_url="https://me:invented-key-0123@example.org/v1")
    )
    with pytest.raises(SpecError, match="password") as refused:
        refuse_unsupported(with_password, Decoding())
    assert "invented-key" not in str(refused.value)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match=r"model\.api\.base_url"):
        refuse_unsupported(ModelSpec(name="m", engine="openai", api=ApiOptions(base_url="localhost:8000")), Decoding())


def test_draws_differ_by_seed_key_and_sample_and_fit_31_bits() -> None:
    seeds = {draw_seed(s, k, n) for s in range(3) for k in ("a", "b") for n in range(3)}
    assert len(seeds) == 18
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_bound_on_a_request_counts_bytes_messages_schema_and_output() -> None:
    body = chat_body(model(), MESSAGES, Decoding(max_new_tokens=10))
    assert prompt_bound(body) >= len("Grüße".encode())
    assert worst_case(body, None).tokens == prompt_bound(body) + 10
    assert worst_case(body, None).picodollars == 0
    schema = {"type": "json_schema", "json_schema": {"name": "pairs", "schema": {"type": "object"}}}
    assert prompt_bound({**body, "response_format": schema}) > prompt_bound(body) + 50
    price = shipped_prices().of("gpt-4o")
    assert worst_case(body, price).picodollars == prompt_bound(body) * 2_500_000 + 10 * 10_000_000
    assert worst_case(body, price, batch=True).picodollars * 2 == worst_case(body, price).picodollars


def test_a_request_without_a_limit_has_no_bound() -> None:
    with pytest.raises(SpecError, match=r"model\.api\.request"):
        output_bound(chat_body(model(max_tokens=None), MESSAGES, Decoding()))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), [9], {}, -1, 0, True, "30", 30.0, 10**30, b"9"], ids=lambda value: repr(value)
)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "best_of"])
def test_a_limit_on_the_output_that_is_none_is_refused_before_anything_starts(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"model\.api\.request\.{name}") as refused:
        refuse_unsupported(model(**{name: value}), Decoding())
    assert len(str(refused.value).splitlines()) == 1


def test_a_limit_of_no_tokens_is_refused_by_the_name_that_was_given() -> None:
    with pytest.raises(SpecError, match=r"decoding\.max_new_tokens"):
        refuse_unsupported(model(), Decoding(max_new_tokens=0))


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, [{1, 2}], date(2026, 1, 1), "a\ud83d"], ids=repr)
def test_a_field_that_no_json_can_hold_is_refused_by_name(value: Any) -> None:
    with pytest.raises(SpecError, match=r"model\.api\.request\.user"):
        refuse_unsupported(model(user=value), Decoding())


DEAR: list[dict[str, Any]] = [
    {"best_of": 20},
    {"service_tier": "priority"},
    {"service_tier": "auto"},
    {"prediction": {"type": "content", "content": "so long a text"}},
    {"web_search_options": {}},
    {"audio": {"voice": "alloy"}},
    {"modalities": ["text", "audio"]},
    {"tools": [{"type": "web_search"}]},
    {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "code_interpreter"}]},
    {"plugins": [{"id": "web"}]},
    {"some_field_of_tomorrow": 1},
]


@pytest.mark.parametrize("fields", DEAR, ids=str)
def test_a_cap_on_money_refuses_fields_whose_price_it_does_not_know(fields: dict[str, Any]) -> None:
    refuse_unsupported(model(**fields), Decoding())
    with pytest.raises(SpecError, match=rf"model\.api\.request\.{next(iter(fields))}.*--max-cost"):
        refuse_unsupported(model(**fields), Decoding(), Limits(max_cost=Decimal(1)))


@pytest.mark.parametrize("fields", [DEAR[0], DEAR[3], DEAR[4], DEAR[5], DEAR[7]], ids=str)
def test_a_cap_on_tokens_refuses_fields_that_take_more_of_them(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="--max-tokens-total"):
        refuse_unsupported(model(**fields), Decoding(), Limits(max_tokens_total=100))
    refuse_unsupported(model(some_field_of_tomorrow=1), Decoding(), Limits(max_tokens_total=100))


def test_a_cap_allows_fields_that_change_no_price() -> None:
    fields = {
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "top_logprobs": 5,
        "top_k": 40,
        "max_completion_tokens": 9,
        "service_tier": "default",
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "guided_json": {},
        "temperature": None,
        "prediction": None,
    }
    refuse_unsupported(model(**fields), Decoding(), Limits(Decimal(1), 100))


def test_texts_that_a_server_writes_beside_the_one_are_in_the_bound() -> None:
    body = chat_body(model(best_of=20), MESSAGES, Decoding(max_new_tokens=10))
    assert output_bound(body) == 200
    assert output_bound({**body, "prediction": {"type": "content", "content": "x" * 50}}) > 250
