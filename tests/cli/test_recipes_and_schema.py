"""What people read before they write a spec: the recipes, and every field with its description."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from latentext import spec as spec_package
from latentext.cli.app import exit_code
from latentext.spec import Frozen, Spec
from latentext.spec.files import load_spec
from latentext.studies.catalogue import recipe_folder, recipe_names, recipe_path

PARTS = sorted(
    {part for part in vars(spec_package).values() if isinstance(part, type) and issubclass(part, Frozen)} - {Frozen},
    key=lambda part: part.__name__,
)


def described(part: type[BaseModel]) -> list[str]:
    return [name for name, field in part.model_fields.items() if field.description]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_field_of_a_spec_says_what_it_is(part: type[BaseModel]) -> None:
    assert described(part) == list(part.model_fields)
    for name, field in part.model_fields.items():
        assert f"    {name}: {field.description}" in (part.__doc__ or ""), "help shows the fields"


def test_the_schema_is_printed_with_every_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert list(schema["properties"]) == list(Spec.model_fields)
    for part in (schema, *schema["$defs"].values()):
        assert "Fields:" not in part.get("description", ""), "each field has its own"
        assert all(field.get("description") for field in part.get("properties", {}).values())


def test_a_schema_file_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "spec.schema.json"
    assert exit_code(["schema", "-o", str(place)]) == 0
    written = place.read_bytes()
    assert exit_code(["schema", "-o", str(place)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert place.read_bytes() == written


def test_recipes_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    assert "length/structured" in lines[-5] and "Answers whose length follows from the question" in lines[-5]


@pytest.mark.parametrize("name", recipe_names())
def test_a_printed_recipe_is_a_spec(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["recipes", name]) == 0
    copy = tmp_path / "mine.yaml"
    copy.write_text(capsys.readouterr().out)
    assert load_spec(copy).prompts == load_spec(recipe_path(name) or name).prompts


def test_editors_find_the_current_schema_beside_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    """Written by ``latentext schema > recipes/spec.schema.json``; every recipe names it in a comment."""
    assert exit_code(["schema"]) == 0
    assert (recipe_folder() / "spec.schema.json").read_text(encoding="utf-8") == capsys.readouterr().out
    for name in recipe_names():
        assert "# yaml-language-server: $schema=../spec.schema.json\n" in (recipe_path(name) or Path()).read_text()


def test_an_unknown_recipe_is_one_line_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["recipes", "length/same"]) == 2
    assert "length/same_prompt" in capsys.readouterr().err
