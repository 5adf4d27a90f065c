"""The front door: the same names for people, type checkers and editors, and the old ones with a word of where to go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import latentext
from latentext import api

OF_OTHER_TOOLS = {
    "apply_chat_template": "length_prediction",
    "extract_and_save_hidden_states": "gpi_pack",
    "extract_hidden_states": "length_prediction",
    "generate_prompt": "length_prediction",
    "load_model": "length_prediction",
    "save_dataset": "length_prediction",
    "TextGeneration": "map_gendata",
}
"""The top-level names of 0.1.0 that are other tools' names."""


def test_the_package_and_its_api_have_the_same_names() -> None:
    assert sorted({*latentext.__all__} - {"__version__"}) == sorted(api.__all__)
    for name in api.__all__:
        assert getattr(latentext, name) is getattr(api, name)


def test_every_public_name_says_what_it_is() -> None:
    assert [name for name in api.__all__ if not (getattr(api, name).__doc__ or "").strip()] == []


def test_a_star_import_leaves_the_builtin_open_alone() -> None:
    names: dict[str, object] = {}
    exec("from latentext import *", names)
    assert "open" not in names
    assert names["open_dataset"] is latentext.open


@pytest.mark.parametrize(("name", "tool"), OF_OTHER_TOOLS.items())
def test_names_of_other_tools_still_work_and_say_where_they_are(name: str, tool: str) -> None:
    with pytest.deprecated_call(match=f"latentext.compat.{tool}"):
        old = getattr(latentext, name)
    assert old is getattr(__import__(f"latentext.compat.{tool}", fromlist=[name]), name)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        latentext.nonsense  # noqa: B018


def test_mappings_are_taken_wherever_objects_of_a_spec_are(tmp_path: Path) -> None:
    root = tmp_path / "data"
    spec = {"prompts": {"list": ["Hello!", "Bye."]}, "decoding": {"max_new_tokens": 3}}
    assert latentext.make_dataset(spec, root).accepted == 2
    latentext.capture_states(root, {"sites": [1, -1], "pool": "mean"})
    data = latentext.open_dataset(root)
    assert data.states(1, pool="mean").shape[0] == len(data) == 2


def test_a_mistake_in_a_mapping_is_named_as_in_a_spec(tmp_path: Path) -> None:
    with pytest.raises(latentext.SpecError, match=r"states\.sits.*did you mean sites"):
        latentext.capture_states(tmp_path, {"sits": [1]})
    with pytest.raises(latentext.SpecError, match=r"decoding\.max_new_token"):
        latentext.make_dataset({"prompts": {"list": ["a"]}, "decoding": {"max_new_token": 3}}, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


MISTAKES = """\
import latentext

latentext.open_dataset("x").nonsense()
latentext.Spec(nonsense=1)
latentext.make_dataset(3)
latentext.load_model
"""


@pytest.mark.slow
def test_mypy_sees_mistakes_through_the_front_door(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MISTAKES)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    lines = {int(line.split(":")[1]) for line in run.stdout.splitlines() if line.startswith("script.py:")}
    assert {3, 4, 5, 6} <= lines, run.stdout
