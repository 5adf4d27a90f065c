"""The vocabulary of specs: what one can say, and what contradicts itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from latentext.spec import Decoding, PromptSpec, Spec, StatesSpec


def test_a_spec_cannot_be_changed() -> None:
    spec = Spec(prompts={"list": ["Hello!"]})
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1


def test_short_forms_mean_their_long_forms() -> None:
    short = Spec(model="tiny", prompts={"file": "a.csv"}, decoding={"stop": "\n"}, states={"sites": -1, "pool": "mean"})
    long = Spec(
        model={"name": "tiny"},
        prompts={"file": {"path": "a.csv"}},
        decoding={"stop": ["\n"]},
        states={"sites": [-1], "pool": ["mean"]},
    )
    assert short == long


def test_grid_values_keep_their_types() -> None:
    grid = PromptSpec(template="{a}", grid={"a": [1, "1", 1.5, True, None]}).grid
    assert grid is not None
    assert [type(value) for value in grid["a"]] == [int, str, float, bool, type(None)]


@pytest.mark.parametrize(
    ("part", "fields", "finding"),
    [
        (PromptSpec, {"grid": {"a": [1]}, "list": ["x"]}, "one source of rows, not grid and list"),
        (PromptSpec, {}, "give a template, or rows"),
        (PromptSpec, {"template": "a", "templates": ["b"]}, "not both"),
        (PromptSpec, {"templates": []}, "templates is empty"),
        (Decoding, {"min_new_tokens": 9, "max_new_tokens": 8}, "above max_new_tokens"),
        (Decoding, {"stop": [""]}, "empty string"),
        (StatesSpec, {"pool": ["none", "mean"]}, "two captures"),
        (StatesSpec, {"pool": "mean", "positions": "all"}, "leave out positions"),
    ],
)
def test_contradictions_are_refused(part: type, fields: dict[str, object], finding: str) -> None:
    with pytest.raises(ValidationError, match=finding):
        part(**fields)
