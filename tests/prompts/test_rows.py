"""Rows from grids and lists: their order, any of them by number, and the columns that a spec may ask for."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.errors import SpecError
from latentext.prompts.rows import GridRows, ListRows, OneRow, RenamedRows, require_any_column, require_columns
from latentext.spec import RangeSpec

_values = st.lists(st.integers(0, 3) | st.sampled_from(["a", "b"]), min_size=1, max_size=4).map(tuple)
_ranges = st.builds(
    lambda start, length, step: RangeSpec(range=(start, start + length * step, step)),
    st.integers(-5, 5),
    st.integers(1, 4),
    st.sampled_from([-2, -1, 1, 3]),
)


@given(st.dictionaries(st.sampled_from("abcd"), _values | _ranges, min_size=1, max_size=4))
def test_a_grid_is_the_product_of_its_values_with_the_first_name_outermost(grid) -> None:
    listed = [range(*v.range) if isinstance(v, RangeSpec) else v for v in grid.values()]
    expected = [dict(zip(grid, point, strict=True)) for point in itertools.product(*listed)]
    rows = GridRows(grid)
    assert [rows.row(index) for index in range(len(rows))] == expected
    assert all(list(rows.row(0)) == list(grid) for _ in "x")


def test_a_grid_of_a_million_million_points_costs_nothing() -> None:
    rows = GridRows({name: RangeSpec(range=(0, 1000)) for name in ("a", "b", "c", "d")})
    assert len(rows) == 10**12
    assert rows.row(123_456_789_012) == {"a": 123, "b": 456, "c": 789, "d": 12}
    assert len(str(rows.identity)) < 1000


@pytest.mark.parametrize(
    ("grid", "line"),
    [
        ({}, "prompts.grid: the grid is empty; "),
        ({"a": (1,), "b": ()}, "prompts.grid.b: no values; "),
        ({"a": RangeSpec(range=(5, 5))}, "prompts.grid.a: no values; "),
        (
            {name: RangeSpec(range=(0, 10**7)) for name in "abc"},
            "prompts.grid: 1e+21 points are more than can be numbered; ",
        ),
        ({"a": RangeSpec(range=(1, 5, 0))}, "prompts.grid.a: range [1, 5, 0] cannot be counted through; "),
        ({"a": RangeSpec(range=(0, 10**30))}, "prompts.grid.a: range [0, 1000"),
    ],
)
def test_an_empty_grid_is_refused_by_name(grid, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        GridRows(grid)
    assert str(caught.value).startswith(line)


def test_a_text_in_a_list_is_a_prompt_and_a_dictionary_a_row() -> None:
    rows = ListRows(["Hello!", {"prompt": "Hi!", "id": 7}])
    assert [rows.row(index) for index in range(len(rows))] == [{"prompt": "Hello!"}, {"prompt": "Hi!", "id": 7}]
    with pytest.raises(SpecError, match=r"prompts\.list: the list is empty"):
        ListRows([])


def test_columns_are_renamed_and_the_others_stay() -> None:
    rows = RenamedRows(ListRows([{"source": "a", "id": 1, "prompt": "old"}]), {"prompt": "source", "number": "id"})
    assert rows.row(0) == {"prompt": "a", "number": 1}
    assert RenamedRows(GridRows({"a": (1,), "b": (2,)}), {"c": "a"}).columns == ("c", "b")


def test_two_columns_can_change_places() -> None:
    rows = RenamedRows(ListRows([{"a": 1, "b": 2}]), {"a": "b", "b": "a"})
    assert rows.row(0) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (["prompt;label"], "; the first line looks separated by ';': prompt;label; save the table separated by commas"),
        (["id\tprompt"], "; the first line looks separated by tabs: id prompt; name the file .tsv"),
        (
            ["id", " prompt "],
            "; ' prompt ' has spaces around its name; correct the name, or give prompts.columns: {prompt: ' prompt '}",
        ),
        (
            ["id", "Prompt"],
            "; 'Prompt' is written in another way; correct the name, or give prompts.columns: {prompt: 'Prompt'}",
        ),
    ],
)
def test_a_column_that_is_there_under_a_mistaken_name_is_pointed_out(columns: list[str], line: str) -> None:
    rows = ListRows([dict.fromkeys(columns, "a")])
    with pytest.raises(SpecError) as caught:
        require_any_column(rows, ("prompt", "messages"), where="prompts")
    assert str(caught.value) == f"prompts: no column 'messages' or 'prompt' in the rows{line}"


def test_a_column_that_no_row_has_is_refused_with_those_that_there_are() -> None:
    rows = ListRows([{"id": 1}, {"id": 2, "text": "late"}])
    require_columns(rows, ["text", "id"], where="prompts.template")
    with pytest.raises(SpecError) as caught:
        require_columns(rows, ["text", "wrod"], where="prompts.template")
    assert str(caught.value) == (
        "prompts.template: no column 'wrod' in the rows; they have: id, text; prompts.columns renames"
    )
    with pytest.raises(SpecError, match="no column 'messages' or 'prompt'"):
        require_any_column(rows, ("prompt", "messages"), where="prompts")
    with pytest.raises(SpecError, match="no columns"):
        require_columns(OneRow(), ["word"], where="prompts.template")
