"""λ and values as typed in shells and in Python."""

from __future__ import annotations

from typing import Any

import pytest

from latentext.errors import ArgumentError
from latentext.studies.align.arguments import parse_lambdas, parse_palette, parse_values

KNOWN = ("humor", "gpt2-helpful", "gpt2-harmless")


@pytest.mark.parametrize(
    ("given", "lambdas"),
    [
        (-0.5, (-0.5,)),
        (2, (2.0,)),
        ("-0.5", (-0.5,)),
        ("1,2.5,-3", (1.0, 2.5, -3.0)),
        ("[1, 2.5]", (1.0, 2.5)),
        ("(1, 2.5,)", (1.0, 2.5)),
        ([1, 2.5], (1.0, 2.5)),
        ((1, "2e-1"), (1.0, 0.2)),
    ],
)
def test_lambdas_are_read_from_numbers_lists_and_comma_lists(given: Any, lambdas: tuple[float, ...]) -> None:
    assert parse_lambdas(given) == lambdas


@pytest.mark.parametrize("given", ["", "[]", [], "a", "1,b", "nan", [float("inf")], [None]])
def test_what_is_no_lambda_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentError, match="λ"):
        parse_lambdas(given)


def test_values_are_read_alike_from_text_and_lists() -> None:
    expected = ("gpt2-helpful", "humor")
    assert parse_values("gpt2-helpful,humor", KNOWN) == expected
    assert parse_values("['gpt2-helpful', 'humor']", KNOWN) == expected
    assert parse_values(["gpt2-helpful", "humor"], KNOWN) == expected
    assert parse_values("all", KNOWN) == KNOWN
    assert parse_values(["all"], KNOWN) == KNOWN


def test_refusals_are_value_errors_that_name_what_is_known() -> None:
    with pytest.raises(ValueError, match="unknown value 'humour'; known are humor, gpt2-helpful, gpt2-harmless"):
        parse_values("humour", KNOWN)
    with pytest.raises(ValueError, match=r"2 λ for 1 values \(humor\); .*known values are humor, gpt2-helpful"):
        parse_palette("1,2", "humor", KNOWN)
    with pytest.raises(ValueError, match="a value is given twice"):
        parse_palette("1,2", "humor,humor", KNOWN)
    with pytest.raises(ValueError, match="no value given"):
        parse_values("", KNOWN)


def test_a_palette_keeps_the_order_given() -> None:
    assert list(parse_palette([0.1, -0.2], "gpt2-harmless,humor", KNOWN).items()) == [
        ("gpt2-harmless", 0.1),
        ("humor", -0.2),
    ]
