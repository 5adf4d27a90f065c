"""Specs as YAML, as dictionaries, with settings from the command line; mistakes as one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.errors import SpecError
from latentext.spec import Spec
from latentext.spec.files import dump_spec, load_spec, relative_inputs, resolve_inputs, spec_folder

SAME_PROMPT = """\
name: same-prompt
model: {name: tiny, dtype: float32}
prompts:
  template: 'Print exactly {count} repetitions of "{word}".'
  grid: {count: {range: [5, 50]}, word: [hello, yes, no]}
decoding: {temperature: 0, max_new_tokens: 200}
states: {sites: [final_norm, -2], positions: generated}
"""


def test_yaml_python_and_settings_build_the_same_spec(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(SAME_PROMPT)
    python = Spec(
        name="same-prompt",
        model={"name": "tiny", "dtype": "float32"},
        prompts={
            "template": 'Print exactly {count} repetitions of "{word}".',
            "grid": {"count": {"range": (5, 50)}, "word": ["hello", "yes", "no"]},
        },
        decoding={"temperature": 0, "max_new_tokens": 200},
        states={"sites": ["final_norm", -2], "positions": "generated"},
    )
    settings = [
        "name=same-prompt",
        "model.dtype=float32",
        "prompts.grid.word=[hello, yes, no]",
        "prompts.grid.count.range=[5, 50]",
        "states.sites=[final_norm, -2]",
    ]
    base = {"prompts": {"template": 'Print exactly {count} repetitions of "{word}".'}}
    assert load_spec(file) == python
    assert load_spec(base, settings) == python


def test_a_setting_reaches_into_a_short_form_and_leaves_the_dictionary_alone() -> None:
    fields = {"model": "tiny", "prompts": {"file": "a.csv"}}
    spec = load_spec(fields, ["model.dtype=bfloat16", "prompts.file.format=tsv", "prompts.limit=3", "prompts.limit=4"])
    assert (spec.model.name, spec.model.dtype) == ("tiny", "bfloat16")
    assert spec.prompts.file is not None
    assert (spec.prompts.file.path, spec.prompts.file.format, spec.prompts.limit) == ("a.csv", "tsv", 4)
    assert fields == {"model": "tiny", "prompts": {"file": "a.csv"}}


@pytest.mark.parametrize(
    ("fields", "settings", "line"),
    [
        ({"promts": {}}, [], "spec: unknown field promts; did you mean prompts?"),
        ({"prompts": {"list": ["a"], "limt": 3}}, [], "spec: unknown field prompts.limt; did you mean limit?"),
        (
            {"prompts": {"file": {"pth": "a.csv"}}},
            [],
            "spec: unknown field prompts.file.pth; did you mean path?",
        ),
        (
            {"prompts": {"list": ["a"]}, "split": {"zzz": 1}},
            [],
            "spec: unknown field split.zzz; fields here are: by, val, test, seed",
        ),
        ({}, [], "spec: prompts is missing"),
        ({"prompts": {"list": ["a"]}, "decoding": {"top_p": 2}}, [], "spec: decoding.top_p: "),
        (
            {"prompts": {"list": ["a"]}, "model": {"dtype": "int8"}},
            [],
            "spec: model.dtype: Input should be 'auto', or Input should be 'float32', 'float16' or 'bfloat16' (it is",
        ),
        ({"prompts": {}}, [], "spec: prompts: give a template, or rows by one of grid, list, file, hub, pairs, corpus"),
        ({"prompts": {"list": ["a"]}}, ["decoding.n"], "--set decoding.n: not of the form a.b=value; "),
        ({"prompts": {"list": ["a"]}}, ["decoding.n=[1"], "--set decoding.n=[1: "),
        ({"prompts": {"list": ["a"]}}, ["seed.x=1"], "spec: seed: Input should be a valid integer"),
        ({"prompts": {"list": ["a"]}, "seed": 3}, ["seed.x=1"], "--set seed.x=1: seed has no fields; "),
        (
            {"prompts": {"list": ["a"]}},
            ["decoding.temprature=1"],
            "spec: unknown field decoding.temprature; did you mean",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field(fields: dict[str, object], settings: list[str], line: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(fields, settings)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_a_spec_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    (tmp_path / "text.yaml").write_text("just a sentence")
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (5 << 20))
    findings = {
        "absent.yaml": "no such file",
        "latin.yaml": "not UTF-8",
        "text.yaml": "no fields",
        "broken.yaml": "line 1",
        "huge.yaml": "larger than 4 MiB",
    }
    for name, finding in findings.items():
        with pytest.raises(SpecError, match=finding) as caught:
            load_spec(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path)


_names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(
    grid=st.dictionaries(_names, st.lists(_scalars, min_size=1, max_size=3), min_size=1, max_size=3),
    template=st.text(),
    name=st.text(),
    temperature=st.just(0.0) | st.floats(1e-6, 1e6),
    stop=st.lists(st.text(min_size=1), max_size=2),
    sites=st.lists(st.integers(-3, 3) | st.sampled_from(["embed", "resid_post.3"]), min_size=1, max_size=2),
    seed=st.integers(),
)
def test_a_dumped_spec_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, grid, template, name, temperature, stop, sites, seed
) -> None:
    spec = Spec(
        name=name,
        seed=seed,
        prompts={"template": template, "grid": grid},
        decoding={"temperature": temperature, "stop": stop},
        states={"sites": sites},
    )
    file = tmp_path_factory.getbasetemp() / "dumped.yaml"
    file.write_text(dump_spec(spec), encoding="utf-8", newline="")
    assert load_spec(file) == spec


def test_a_dump_shows_what_a_reader_looks_for_and_what_differs_from_the_default() -> None:
    spec = load_spec({"prompts": {"list": ["yes"], "limit": 3}, "states": {}, "rewards": ["length"]})
    assert dump_spec(spec) == (
        "name: dataset\n"
        "seed: 0\n"
        "model: {name: tiny, engine: transformers}\n"
        "prompts:\n"
        "  list: ['yes']\n"
        "  limit: 3\n"
        "decoding: {temperature: 0.0, max_new_tokens: 200, n: 1}\n"
        "states: {}\n"
        "rewards: [length]\n"
    )


def test_input_paths_belong_to_the_folder_of_the_spec_and_settings_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs, here = tmp_path / "specs", tmp_path / "here"
    specs.mkdir(), here.mkdir()
    file = specs / "spec.yaml"
    file.write_text("prompts: {file: data/a.csv}\noutput: out\n")
    monkeypatch.chdir(here)
    spec = load_spec(file)
    assert spec.prompts.file is not None
    assert spec.prompts.file.path == "data/a.csv"
    resolved = resolve_inputs(spec, spec_folder(file))
    assert resolved.prompts.file is not None
    assert resolved.prompts.file.path == str(specs / "data" / "a.csv")
    assert resolved.output == "out"
    moved = relative_inputs(resolved, here / "out")
    assert moved.prompts.file is not None
    assert moved.prompts.file.path == "../../specs/data/a.csv"
    assert resolve_inputs(moved, here / "out") == resolved

    changed = load_spec(file, ["prompts.file=b.csv"])
    assert resolve_inputs(changed, spec_folder(file)).prompts.file == resolved.prompts.file.model_copy(
        update={"path": str(here / "b.csv")}
    )
    assert resolve_inputs(load_spec({"prompts": {"file": "c.csv"}}), spec_folder({})).prompts.file is not None


def test_a_model_that_is_a_folder_moves_with_the_spec_and_a_name_does_not(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    spec = load_spec({"model": "model", "prompts": {"list": ["a"]}})
    assert resolve_inputs(spec, tmp_path).model.name == str(tmp_path / "model")
    assert relative_inputs(resolve_inputs(spec, tmp_path), tmp_path / "out").model.name == "../model"
    (tmp_path / "tiny").mkdir()  # The name of the packaged model is no path.
    assert resolve_inputs(load_spec({"prompts": {"list": ["a"]}}), tmp_path).model.name == "tiny"
    named = load_spec({"model": "meta-llama/Llama-3.2-1B", "prompts": {"list": ["a"]}})
    assert relative_inputs(resolve_inputs(named, tmp_path), tmp_path).model.name == "meta-llama/Llama-3.2-1B"


def test_reading_specs_imports_nothing_heavy() -> None:
    code = (
        "import sys, latentext.spec.files as f; f.dump_spec(f.load_spec({'prompts': {'list': ['a']}}));"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'numpy', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_wrong_value_in_a_short_tuple_is_named() -> None:
    with pytest.raises(SpecError, match=r"prompts\.grid\.count\.range"):
        load_spec({"prompts": {"template": "{count}", "grid": {"count": {"range": [0, "<"]}}}})


def test_a_control_character_in_a_spec_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: a\x07b\n")
    with pytest.raises(SpecError, match=r"spec\.yaml"):
        load_spec(path)


def test_a_path_through_a_link_reads_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "prompts.txt").write_text("Hello\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    named = tmp_path / "link" / "prompts.txt"
    spec = load_spec({"prompts": {"file": str(named)}})
    written = relative_inputs(spec, tmp_path / "data")
    (tmp_path / "data").mkdir()
    assert resolve_inputs(written, tmp_path / "data") == spec


@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        ({"decoding": {"top_p": 3}}, "top_p: Sample from the most probable tokens"),
        ({"states": {"pool": "avg"}}, "pool: Keep one row per text"),
        ({"model": {"engine": "hf"}}, "engine: What runs the model"),
        ({"shard_size": 0}, "shard_size: Requests"),
    ],
)
def test_an_unusable_value_is_named_with_what_its_field_is_for(fields: dict[str, object], meaning: str) -> None:
    with pytest.raises(SpecError) as found:
        load_spec({"prompts": {"list": ["a"]}, **fields})
    assert meaning in str(found.value)
