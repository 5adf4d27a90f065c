"""The vocabulary of specs: what one can say, and what contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from latentext.errors import SpecError
from latentext.rewards import parse_reward
from latentext.spec import Decoding, PromptSpec, Spec, StatesSpec
from latentext.spec.files import load_spec


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


def _float_fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The places of all numbers in a spec that are no whole ones."""
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        place = f"{path}{name}"
        if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
            inner = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
            yield from _float_fields(inner, f"{place}.")
        elif re.search(r"\bfloat\b", str(field.annotation)) and name != "grid":
            yield place


@pytest.mark.parametrize("place", _float_fields(Spec))
@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e400", "-1e400"])
def test_a_number_that_is_not_finite_is_refused_in_one_line(place: str, value: str) -> None:
    base: dict[str, object] = {"prompts": {"list": ["a"]}, "check": {"repetition": {}}}
    engine = {"model.api": "openai", "model.vllm": "vllm"}.get(place.rpartition(".")[0])
    if engine is not None:
        base["model"] = {"name": "m", "engine": engine}
    if place.startswith("length."):
        del base["check"]
    given = f"[{value}, 1]" if place == "decoding.temperatures" else value
    with pytest.raises(
        SpecError, match=rf"^spec: {re.escape(place)}.*: Input should be a finite number \(it is"
    ) as caught:
        load_spec(base, [f"{place}={given}"])
    assert "\n" not in str(caught.value)


def test_every_place_of_a_number_was_looked_at() -> None:
    assert {"decoding.temperature", "decoding.temperatures", "split.val", "model.api.timeout"} <= set(
        _float_fields(Spec)
    )


@pytest.mark.parametrize("value", ["1e-308", "5e-324", "1e-7", "-1e-308"])
@pytest.mark.parametrize("place", ["decoding.temperature", "decoding.repetition_penalty", "model.api.timeout"])
def test_a_number_too_small_to_compute_with_is_refused_in_one_line(place: str, value: str) -> None:
    model = {"name": "m", "engine": "openai"} if place.startswith("model") else "tiny"
    with pytest.raises(SpecError, match=rf"^spec: {re.escape(place)}: "):
        load_spec({"prompts": {"list": ["a"]}, "model": model}, [f"{place}={value}"])


def test_a_grid_value_that_is_not_finite_is_named() -> None:
    spec = {"prompts": {"template": "{n}", "grid": {"n": [1, float("nan")]}}}
    with pytest.raises(SpecError, match=r"prompts\.grid\.n\.1: Input should be a finite number \(it is nan\)"):
        load_spec(spec)


def test_a_reward_that_weighs_a_word_by_infinity_is_refused() -> None:
    with pytest.raises(SpecError, match="finite number"):
        parse_reward({"name": "w", "words": {"please": float("inf")}})
