"""Bad input, all kinds in one place: one line with cause and remedy, the right exit code, and nothing lost.

Run it with ``pytest -s`` to read the lines one after the other.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from latentext.cli.app import exit_code
from latentext.storage.lease import Leases

SPEC = {
    "name": "small",
    "prompts": {"template": "Say {word} {count} times.", "grid": {"count": [2, 3], "word": ["red", "blue"]}},
    "decoding": {"max_new_tokens": 8},
    "states": {"sites": ["final_norm"]},
    "shard_size": 2,
}


@dataclass(frozen=True)
class Case:
    """A mistake: what is done to the folder, the command, and what the answer must say."""

    name: str
    words: str
    code: int
    says: str
    prepare: Callable[[Path], object] = lambda folder: None


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def change(pattern: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Edit the first file of the dataset that fits the pattern."""

    def prepare(folder: Path) -> None:
        path = sorted((folder / "made").glob(pattern))[0]
        path.write_bytes(edit(path.read_bytes()))

    return prepare


def newer(folder: Path) -> None:
    path = folder / "made" / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))


SET = "run spec.yaml --output new --set "
CASES = [
    Case("no spec file", "run none.yaml", 2, "no such file or recipe: none.yaml"),
    Case(
        "a folder as spec", "run specs", 2, "specs: is a folder; name a spec", lambda folder: (folder / "specs").mkdir()
    ),
    Case("a spec that is no YAML", "run bad.yaml", 2, "bad.yaml", write("bad.yaml", "prompts: [1")),
    Case("a spec that is not text", "run bad.yaml", 2, "bad.yaml", write("bad.yaml", b"\xff\xfe\x00")),
    Case("an unknown field", SET + "decoding.temprature=1", 2, "did you mean temperature?"),
    Case("a value of the wrong kind", SET + "decoding.n=many", 2, "decoding.n"),
    Case("a value out of range", SET + "decoding.top_p=2", 2, "decoding.top_p"),
    Case("no prompts file", SET + "'prompts={file: none.csv}'", 2, "none.csv: no such file"),
    Case(
        "a column that is not there",
        SET + "'prompts={file: p.csv, template: \"{b}\"}'",
        2,
        "'b'",
        write("p.csv", "a\n1\n"),
    ),
    Case("a template variable that the grid lacks", SET + "'prompts.grid={count: [2]}'", 2, "'word'"),
    Case("an empty grid", SET + "'prompts.grid={count: [], word: [a]}'", 2, "grid.count"),
    Case("a site that is not there", SET + "states.sites=[resid_post.99]", 2, "resid_post.99"),
    Case("a site out of range", SET + "states.sites=[40]", 2, "40"),
    Case("a device that is not there", SET + "model.device=cuda:77", 2, "cuda:77"),
    Case("a model that is not there", "run spec.yaml --output new --model ./none", 2, "no such folder"),
    Case("a model that cannot be fetched", "run spec.yaml --output new --model no/such", 2, "No network"),
    Case("another spec for a dataset", "run spec.yaml --output made --set seed=5", 2, "seed"),
    Case(
        "a folder of something else",
        "run spec.yaml --output other",
        1,
        "no dataset",
        lambda f: (f / "other/x").mkdir(parents=True),
    ),
    Case("a directory of a newer format", "show made", 1, "99", newer),
    Case("no dataset", "export none x --to npy", 1, "not a dataset"),
    Case(
        "a changed table", "verify made", 1, "00000.parquet", change("records/*/00000.parquet", lambda b: b[:-1] + b"?")
    ),
    Case("a cut table", "show made", 1, "00000.parquet", change("records/*/00000.parquet", lambda b: b[:50])),
    Case("a cut states file", "verify made", 1, "00001-000.safetensors", change("states/*/00001-*", lambda b: b[:-9])),
    Case(
        "a damaged receipt",
        "verify made",
        1,
        "00000.receipt.json",
        change("records/*/00000.receipt.json", lambda b: b[:20]),
    ),
    Case(
        "a layer that was not captured",
        "export made x --to npy --sites embed",
        1,
        "captured sites are: layer 4, final_norm",
    ),
    Case("a reward that is not known", "score made --reward lenght", 2, "did you mean length"),
    Case("a reward of no file", "score made --reward none.py:kind", 2, "none.py: no such file"),
    Case("a reward of half a mapping", "score made --reward '{name: x'", 2, "--reward"),
    Case("a reward that the spec misspells", SET + "rewards=[lenght]", 2, "did you mean length"),
    Case("scores of no dataset", "score none --reward length", 1, "not a dataset"),
    Case("a check of a variable that the grid lacks", SET + "check.repetition.word=term", 2, "needs 'term'"),
    Case(
        "keeping by a check that was not made",
        "export made x.jsonl --to jsonl --keep exact",
        1,
        "give the spec a check",
    ),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad-input")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    assert exit_code(["run", str(folder / "spec.yaml"), "--output", str(folder / "made")]) == 0
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_one_line_and_costs_nothing(
    case: Case, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(made, tmp_path / "work")
    case.prepare(folder)
    monkeypatch.chdir(folder)
    code = exit_code(shlex.split(case.words))
    captured = capsys.readouterr()
    lines = [line for line in (captured.err or captured.out).splitlines() if not line.startswith("texts: ")]
    print(f"{case.name} ({code}): {lines[0]}")
    assert code == case.code
    assert case.says in lines[0]
    assert len(lines) == 1 or case.words.startswith("verify")  # one line for each file that is affected
    assert not (folder / "new").exists() or not list((folder / "new").rglob("*.parquet"))


@pytest.mark.parametrize(
    "pattern", ["records/*/00000.parquet", "states/*/00001-000.safetensors", "states/*/00000.receipt.json"]
)
def test_the_same_command_repairs_a_damaged_dataset_to_the_same_bytes(pattern: str, made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "work")
    files = {path: path.read_bytes() for path in (folder / "made").rglob("0*") if path.is_file()}
    change(pattern, lambda content: content[: len(content) // 2])(folder)
    assert exit_code(["run", str(folder / "spec.yaml"), "--output", str(folder / "made")]) == 0
    assert {path: path.read_bytes() for path in files} == files


def test_a_broken_line_of_prompts_is_a_recorded_failure_and_the_others_are_written(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.jsonl").write_text('{"prompt": "Say red."}\n{"prompt": \n{"prompt": "Say blue."}\n')
    # The path is seen from the working directory, as paths on a command line are, not from the folder of the spec.
    settings = ["prompts.grid=null", "prompts.template=null", "prompts.file=p.jsonl"]
    words = ["run", str(made / "spec.yaml"), "--output", "new", *(word for s in settings for word in ("--set", s))]
    assert exit_code(words) == 4
    assert "3 texts: 2 written, 1 failed" in capsys.readouterr().out
    assert [json.loads(line)["index"] for line in Path("new/failures.jsonl").read_text().splitlines()] == [1]


def test_a_directory_in_use_is_not_moved_aside(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(made, tmp_path / "work")
    leases = Leases(folder / "made")
    with leases.take("records/s0000-0000/00000"):
        assert exit_code(["run", str(folder / "spec.yaml"), "--output", str(folder / "made"), "--fresh"]) == 1
    leases.close()
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "another run is at work here" in line
    assert "'Another run holds the directory'" in line
    assert (folder / "made" / "spec.yaml").is_file()
