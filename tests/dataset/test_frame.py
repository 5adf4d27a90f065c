"""Records as a data frame: every variable has a column of its own, whatever it is called."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.dataset.frame import as_frame
from latentext.dataset.records import SCHEMA

_NAMES = [
    "index",
    "variables.index",
    "variables.variables.index",
    "text",
    "prompt_tokens",
    "usage.prompt_tokens",
    "q",
    "variables",
]


def _frame(rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    table = [
        {
            "index": 10 + place, "key": "k", "sample": 0, "variables": json.dumps(row), "messages": "[]", "prompt": "p",
            "prompt_token_ids": [1], "text": "t", "token_ids": [2], "logprobs": None, "entropies": None,
            "finish_reason": "stop", "verification": None, "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }
        for place, row in enumerate(rows)
    ]  # fmt: skip
    return as_frame(pa.Table.from_pylist(table, schema=SCHEMA))


def test_variables_called_index_and_variables_index_have_a_column_each() -> None:
    frame = _frame([{"variables.index": "a", "index": 7}, {"variables.index": "b", "index": 8}])
    assert frame["index"].tolist() == [10, 11]
    assert frame["variables.index"].tolist() == ["a", "b"]
    assert frame["variables.variables.index"].tolist() == [7, 8]


@given(st.permutations(_NAMES), st.integers(0, len(_NAMES)))
def test_no_variable_is_lost_and_a_name_does_not_depend_on_the_others_order(names: list[str], count: int) -> None:
    names = names[:count]
    frame = _frame([{name: f"value of {name}" for name in names}] * 2)
    assert frame.columns.is_unique
    values = {column: frame[column][0] for column in frame if str(frame[column][0]).startswith("value of ")}
    assert sorted(values.values()) == sorted(f"value of {name}" for name in names)
    again = _frame([{name: f"value of {name}" for name in sorted(names)}])
    assert {column: again[column][0] for column in values} == values


def test_a_variable_that_a_row_lacks_is_missing_there_and_columns_keep_their_order() -> None:
    frame = _frame([{"a": 1, "b": "x"}, {"c": [1, 2]}])
    assert frame["b"][0] == "x"
    assert frame["b"].isna().tolist() == [False, True]
    assert frame["c"][1] == [1, 2]
    place = list(frame.columns).index("sample")
    assert list(frame.columns)[place : place + 5] == ["sample", "a", "b", "c", "messages"]


@pytest.mark.filterwarnings("error")
def test_four_thousand_variables_are_put_in_at_once() -> None:
    assert len(_frame([{f"v{number}": number for number in range(4000)}]).columns) > 4000
