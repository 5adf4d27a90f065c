"""Money from tokens, exactly, by a dated table that can be replaced."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from latentext.engines.server.prices import cost_of, prices_for, read_prices, shipped_prices
from latentext.engines.server.spend import Spend, money, picodollars
from latentext.errors import SpecError
from latentext.request import Usage
from latentext.spec import ApiOptions

OWN = """
date: 2026-01-02
batch: 0.4
models:
  mine: {input: 1, cached: 0.1, output: 2, batch: 0.25}
  gpt-4o: {input: 9, output: 9}
"""


def test_gpt_4o_costs_what_its_price_list_says() -> None:
    # 1,500 scenarios by the seed's own prices: 0.0025 and 0.01 dollars a thousand tokens.
    assert cost_of(Usage(1000, 1000), "gpt-4o") == Decimal("0.0125")
    assert cost_of(Usage(1000, 1000), "gpt-4o", batch=True) == Decimal("0.00625")
    assert cost_of(Usage(1000, 0, cached_tokens=1000), "gpt-4o") == Decimal("0.00125")


def test_a_dated_snapshot_costs_what_its_model_costs_unless_it_has_a_line_of_its_own() -> None:
    usage = Usage(1000, 1000)
    assert cost_of(usage, "gpt-4o-2024-08-06") == cost_of(usage, "gpt-4o")
    assert cost_of(usage, "gpt-4o-2024-05-13") == Decimal("0.02")


def test_an_unknown_model_has_no_price() -> None:
    assert cost_of(Usage(1, 1), "some-model") is None


def test_the_shipped_table_is_dated_and_every_line_of_it_is_sound() -> None:
    table = shipped_prices()
    assert table.date is not None
    for price in table.models.values():
        assert 0 < price.input < price.output
        assert price.cached is None or price.cached < price.input
        assert price.batch == Decimal("0.5")


def test_a_table_of_ones_own_goes_before_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    own.write_text(OWN)
    at_openai = prices_for(ApiOptions(prices=str(own)), None)
    assert at_openai.of("gpt-4o") == read_prices(own).of("gpt-4o")
    assert at_openai.of("gpt-4o-mini") is not None
    assert str(at_openai.date) == "2026-01-02"
    elsewhere = prices_for(ApiOptions(prices=str(own)), "http://127.0.0.1:8000/v1")
    assert elsewhere.of("gpt-4o-mini") is None
    mine = elsewhere.of("mine")
    assert mine is not None
    assert mine.cost(Usage(1_000_000, 1_000_000), batch=True) == Decimal("0.75")
    assert elsewhere.of("gpt-4o").batch == Decimal("0.4")  # type: ignore[union-attr]


def test_openais_prices_hold_for_openais_server_alone_unless_they_are_asked_for() -> None:
    server = "http://127.0.0.1:8000/v1"
    assert prices_for(ApiOptions(), None).of("gpt-4o") is not None
    assert prices_for(ApiOptions(), "https://eu.api.openai.com/v1").of("gpt-4o") is not None
    assert prices_for(ApiOptions(), server).of("gpt-4o") is None
    assert prices_for(ApiOptions(prices="openai"), server).of("gpt-4o") is not None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("models: {a: {input: 1, output: 2}}", "date"),
        ("date: 2026-01-01\nmodels: {a: {input: -1, output: 2}}", "models.a.input"),
        ("date: 2026-01-01\nmodels: {a: {input: 1}}", "models.a.output"),
        ("date: 2026-01-01\nmodels: {a: {input: 0.1234567, output: 1}}", "models.a.input"),
        ("a: [", "YAML"),
        ("just text", "the file"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_field(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=names) as refused:
        read_prices(path)
    assert str(path) in str(refused.value)


def test_a_worst_case_is_never_below_any_cost_of_the_same_tokens() -> None:
    for price in shipped_prices().models.values():
        for cached, written in ((0, 0), (500, 0), (0, 1000), (200, 800)):
            cost = price.cost(Usage(1000, 100, cached_tokens=cached), cache_write_tokens=written)
            assert cost <= price.worst_cost(1000, 100)


def test_sums_of_money_are_exact() -> None:
    third = picodollars(Decimal("0.000000000001"))
    total = sum((Spend(answers=1, picodollars=third) for _ in range(1000)), Spend())
    assert total.cost == Decimal("0.000000001")
    assert money(Decimal("1.5")) == "1.5000 USD"


def test_a_total_without_a_price_says_tokens_only() -> None:
    assert (
        str(Spend(answers=1, prompt_tokens=5, completion_tokens=2, unpriced=1))
        == "5 prompt + 2 text tokens, price unknown"
    )
    assert str(Spend()) == "0 prompt + 0 text tokens"


def test_a_long_prompt_makes_its_whole_request_dearer() -> None:
    """Twice for the prompt and one and a half times for the text above 272,000 tokens, as OpenAI's model page says."""
    price = shipped_prices().of("gpt-5.4")
    assert price is not None
    short, long = (price.cost(Usage(prompt_tokens=count, completion_tokens=1000)) for count in (272_000, 272_001))
    assert short == Decimal("0.695")
    assert long == Decimal("1.360005") + Decimal("0.0225")
    assert price.cost(Usage(prompt_tokens=400_000, completion_tokens=0), batch=True) == Decimal(1)
    assert price.worst_cost(272_001, 1000) == long
