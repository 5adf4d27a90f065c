"""``latentext pairs``: what it prints, what it writes and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentext.cli.pairs import app
from latentext.errors import DatasetError, SpecError

ARGUMENTS = list[str]


@pytest.fixture(scope="session")
def named(tokenizer_sources: ARGUMENTS) -> ARGUMENTS:
    return [part for source in tokenizer_sources for part in ("--tokenizer", source)]


def pairs(*arguments: str | Path) -> int:
    result = app(args=[str(argument) for argument in arguments], prog_name="pairs", standalone_mode=False)
    assert isinstance(result, int)
    return result


def test_validate_prints_the_yield_of_published_pairs(
    materials: Path, named: ARGUMENTS, capsys: pytest.CaptureFixture[str]
) -> None:
    file = materials / "pairs" / "simple_train.json"
    assert pairs("validate", file, "--columns", "clean_prefix,patch_prefix", *named) == 1
    assert capsys.readouterr().out == (
        "tokenizer  valid   of  yield  length  several-differences\n"
        "qwen2        413  480  86.0%      67                    0\n"
        "llama3       413  480  86.0%      67                    0\n"
        "mistral      316  480  65.8%     144                   20\n"
        "all          316  480  65.8%     164                    0\n"
    )


def test_what_substitute_writes_validates_with_exit_code_0(
    tmp_path: Path, named: ARGUMENTS, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.jsonl"
    assert pairs("substitute", "--num-scenarios", "40", "--output", file, "--show", "3", "--details", *named) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"40 scenarios in {file}"
    assert len([line for line in printed if " | " in line]) == 3
    assert len(file.read_text().splitlines()) == 160
    assert pairs("validate", file, "--same-word", *named) == 0
    assert "all           40  40  100.0%" in capsys.readouterr().out


def test_the_same_command_writes_the_same_bytes(tmp_path: Path, named: ARGUMENTS) -> None:
    for name in ("first", "second"):
        pairs("substitute", "--task", "sentiment", "--num-scenarios", "30", "--output", tmp_path / name, *named[2:4])
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_show_failures_prints_each_pair_with_its_reason(
    tmp_path: Path, named: ARGUMENTS, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("a cake", "a bomb"), ("bake a cake", "make a bomb"), ("a cake", 5)]
    file = tmp_path / "made.jsonl"
    file.write_text("".join(json.dumps({"a": first, "b": second}) + "\n" for first, second in rows))
    assert pairs("validate", file, "--columns", "a,b", "--show-failures", *named[:2]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pair 1: qwen2, text: ")
    assert lines[0].endswith("'bake a cake' / 'make a bomb'")
    assert lines[1] == "pair 2: not-a-string: 'a cake' / 5"


def test_answers_are_reported_beside_the_yield(
    tmp_path: Path, named: ARGUMENTS, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("a,b\nmake a cake,make a bomb\n")
    assert pairs("validate", tmp_path / "a.csv", "--columns", "a,b", "--answers", "refusal", *named[:2]) == 0
    printed = capsys.readouterr().out
    assert "qwen2      'Yes'   a space           joins-the-prompt  [7414]" in printed
    assert "qwen2      'Yes'   no space          one-token         [7414]" in printed


def test_split_writes_a_file_for_each_part(
    tmp_path: Path, named: ARGUMENTS, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.parquet"
    pairs("substitute", "--num-scenarios", "100", "--output", file, *named)
    assert pairs("split", file, "--by", "frame", "--val", "0.2") == 0
    assert "20 scenarios in" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pairs.parquet", "pairs.train.parquet", "pairs.val.parquet",
    ]  # fmt: skip


def test_existing_files_are_kept_unless_forced(tmp_path: Path, named: ARGUMENTS) -> None:
    file = tmp_path / "pairs.jsonl"
    earlier = '{"scenario_id": 0, "paid for": true}'
    file.write_text(earlier)
    with pytest.raises(SpecError, match="exists already; choose another place, or pass --force to replace it"):
        pairs("substitute", "--num-scenarios", "4", "--output", file, *named)
    assert file.read_text() == earlier
    assert pairs("substitute", "--num-scenarios", "4", "--output", file, "--force", *named) == 0
    file.write_text("my thesis")
    with pytest.raises(DatasetError, match="is no file of pairs; choose another place, or remove it"):
        pairs("substitute", "--num-scenarios", "4", "--output", file, "--force", *named)
    assert file.read_text() == "my thesis"


def test_a_split_that_was_interrupted_between_its_files_is_finished_by_the_same_command(
    tmp_path: Path, named: ARGUMENTS
) -> None:
    file, val = tmp_path / "pairs.jsonl", tmp_path / "pairs.val.jsonl"
    pairs("substitute", "--num-scenarios", "40", "--output", file, *named)
    assert pairs("split", file, "--by", "frame", "--val", "0.2") == 0
    whole = val.read_bytes()
    val.unlink()
    assert pairs("split", file, "--by", "frame", "--val", "0.2") == 0
    assert val.read_bytes() == whole
    with pytest.raises(SpecError, match=r"pairs\.train\.jsonl: exists already"):
        pairs("split", file, "--by", "frame", "--val", "0.5")
    assert val.read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["validate", "missing.jsonl"], "missing.jsonl: cannot be read"),
        (["validate", "empty.jsonl"], "empty.jsonl: holds no pairs"),
        (["validate", "empty.jsonl", "--columns", "one"], "--columns needs two names, not 'one'"),
        (["validate", "empty.jsonl", "--chat-template", "x"], "--chat-template needs NAME=FILE, not 'x'"),
        (["substitute", "--task", "refuse", "--output", "out"], "no file refuse.yaml among the tasks"),
        (["substitute", "--bank", "nowhere.yaml", "--output", "out"], "nowhere.yaml: cannot be read"),
        (["substitute", "--num-scenarios", "9000", "--output", "out"], "9000 scenarios cannot be made"),
    ],
)
def test_bad_input_is_one_line_with_exit_code_2(
    arguments: ARGUMENTS, message: str, tmp_path: Path, named: ARGUMENTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(SpecError) as raised:
        pairs(*arguments, *named[4:])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_the_program_prints_an_error_as_one_line_and_leaves_with_code_2(tmp_path: Path) -> None:
    file = tmp_path / "made.csv"
    file.write_text("a,b\nmake a cake,make a bomb\n")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "latentext", "pairs", "validate", str(file), "--columns", "a,b"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("latentext: tokenizer Qwen/Qwen2-7B: not in the local cache")
    assert "pass local ones: --tokenizer name=DIR" in line


def test_the_commands_load_nothing_heavy_before_they_run() -> None:
    heavy = ["torch", "transformers", "tokenizers", "pyarrow", "numpy"]
    program = f"import sys, latentext.cli.pairs; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
