"""The commands on a real run: eight texts by the built-in model, made once and then shown, exported, checked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentext
from latentext.cli.app import exit_code
from latentext.run.runner import RunSummary

SPEC = """
name: small
prompts:
  template: Say {word} {count} times.
  grid: {count: [2, 3], word: [red, blue, cat, dog]}
decoding: {max_new_tokens: 30}
states: {sites: [final_norm]}
split: {val: 0.25}
shard_size: 4
output: made
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec and the dataset that the command line made of it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.yaml").write_text(SPEC)
    run = program("run", "small.yaml", cwd=folder)
    assert run.returncode == 0, run.stderr
    (folder / "stdout.txt").write_text(run.stdout)
    (folder / "stderr.txt").write_text(run.stderr)
    return folder


def program(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latentext", *map(str, words)], cwd=cwd, capture_output=True, text=True, encoding="utf-8"
    )


def output_of(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What a command prints, once it ended well."""
    code = exit_code([str(word) for word in words])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def test_a_run_says_what_it_will_make_how_it_goes_and_what_it_made(folder: Path) -> None:
    notes, result = (folder / "stderr.txt").read_text().splitlines(), (folder / "stdout.txt").read_text()
    assert notes[0].startswith("8 requests: at most 240 new tokens and ")
    assert "texts: 0 of 8" in notes
    assert notes[-1].startswith("texts: 8 of 8, ")
    assert "8 texts: 8 written\n" in result
    assert result.endswith("dataset: made\n")
    assert "\x1b" not in "".join(notes) + result
    assert "\r" not in "".join(notes) + result


def test_the_same_command_on_a_finished_dataset_makes_nothing_again(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    run = program("run", "small.yaml", cwd=folder)
    assert run.returncode == 0
    assert run.stdout == "8 texts: 8 written\ndataset: made\n"
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_a_changed_spec_is_refused_with_the_field_that_differs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert exit_code(["run", "small.yaml", "--set", "decoding.max_new_tokens=31"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "max_new_tokens" in error
    assert "--fresh" in error


def test_a_dry_run_makes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = output_of(capsys, "run", folder / "small.yaml", "--dry-run", "--set", "decoding.n=2").splitlines()
    numbers = {name.strip(): number for name, _, number in (row.rpartition("  ") for row in rows)}
    assert numbers["requests"] == "8"
    assert numbers["new tokens, at most"] == "480"
    assert {"prompt tokens", "records on disk, at most", "states on disk, at most", "model in memory"} <= set(numbers)
    assert list(tmp_path.iterdir()) == []


def test_columns_that_cannot_be_kept_are_named_before_a_run_and_in_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = pa.table({"q": ["red", "blue"], "image": [b"1", b"2"], "sound": [b"3", b"4"]})
    pq.write_table(rows, tmp_path / "p.parquet")
    (tmp_path / "s.yaml").write_text(
        "prompts: {file: p.parquet, template: 'Say {q}.'}\nmodel: tiny\ndecoding: {max_new_tokens: 2}\noutput: d\n"
    )
    said = "2 columns of bytes or durations not kept: image, sound"
    assert said in output_of(capsys, "run", "s.yaml", "--dry-run")
    assert exit_code(["run", "s.yaml"]) == 0
    assert said in capsys.readouterr().err


def test_a_preview_prints_texts_and_keeps_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    output = output_of(capsys, "run", folder / "small.yaml", "--preview", "2")
    assert [line.split()[0] for line in output.splitlines() if line.startswith("#")] == ["#0", "#1"]
    assert list(tmp_path.iterdir()) == []


def test_limit_model_and_set_change_the_spec(folder: Path, tmp_path: Path, stories260k: Path) -> None:
    words = ["--limit", "3", "--model", os.path.relpath(stories260k, tmp_path), "--output", "told"]
    plain = ["--set", "prompts.use_chat_template=false", "--set", "decoding.max_new_tokens=5"]
    run = program("run", folder / "small.yaml", *words, *plain, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    records = latentext.open_dataset(tmp_path / "told").records(["prompt", "token_ids"])
    assert records["prompt"].to_pylist() == ["Say red 2 times.", "Say blue 2 times.", "Say cat 2 times."]
    assert {len(ids) for ids in records["token_ids"].to_pylist()} == {5}


def test_records_are_exported_as_json_lines_and_as_parquet(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output_of(capsys, "export", folder / "made", tmp_path / "o.jsonl", "--to", "jsonl").startswith("8 texts in ")
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["variables"]["word"] for row in rows] == ["red", "blue", "cat", "dog"] * 2
    output_of(capsys, "export", folder / "made", tmp_path / "o.parquet", "--to", "parquet", "--split", "val")
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 2


def test_states_are_exported_as_arrays_that_plain_numpy_reads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output_of(capsys, "export", folder / "made", tmp_path / "npy", "--to", "npy", "--sites", "final_norm")
    remaining = np.load(tmp_path / "npy" / "train_remaining_tokens.npy")
    assert np.load(tmp_path / "npy" / "train_hidden_states.npy").shape == (len(remaining), 192)
    assert (remaining == 0).sum() == 6  # one last row for each of the texts in train


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.parquet", "--to", "jsonl"], "x.parquet: jsonl goes into a file that ends in .jsonl"),
        (["x.jsonl", "--to", "jsonl", "--sites", "embed"], "--sites: jsonl holds records, no states"),
        (["x", "--to", "npy", "--split", "val"], "--split: npy writes every split"),
        (["x", "--to", "npy", "--sites", "embed"], "embed"),
        (["x.jsonl", "--to", "jsonl", "--split", "vla"], "no split 'vla'; splits are: train, val"),
    ],
)
def test_an_export_that_cannot_be_is_refused_and_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(["export", str(folder / "made"), *words]) in (1, 2)
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_states_of_another_layer_are_added_to_a_finished_dataset(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(folder / "made", tmp_path / "copy")
    output_of(capsys, "capture", copy, "--sites", "embed,-2")
    data = latentext.open_dataset(copy)
    assert data.states("embed").shape == data.states("final_norm").shape == data.states(-2).shape


def test_status_says_how_much_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = output_of(capsys, "status", folder / "made")
    assert "8" in output
    assert "final_norm" in output


def test_verify_finds_no_fault_in_a_whole_dataset_and_names_a_changed_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(folder / "made", tmp_path / "copy")
    assert output_of(capsys, "verify", copy) == f"{copy}: no faults found\n"
    table = next(copy.glob("records/*/00001.parquet"))
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    assert exit_code(["verify", str(copy)]) == 1
    assert table.relative_to(copy).as_posix() in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_leaves_a_dataset_that_the_printed_command_continues(folder: Path, tmp_path: Path) -> None:
    grid = "prompts.grid={count: {range: [0, 20]}, word: [red, blue, cat, dog]}"
    forced = "decoding={min_new_tokens: 100, max_new_tokens: 100}"
    words = ["run", str(folder / "small.yaml"), "--set", grid, "--set", forced, "--output", "long", "--fresh"]
    command = [sys.executable, "-m", "latentext", *words]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list((tmp_path / "long").glob("records/*/00002.receipt.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    last = stderr.splitlines()[-1]
    assert last.startswith("To go on: latentext run ")
    assert "--fresh" not in last
    assert "Traceback" not in stderr
    done = len(latentext.open_dataset(tmp_path / "long").records(["index"]))
    assert 12 <= done < 80
    assert f"Interrupted. Kept in long: {done} of 80 texts" in stderr
    printed = f"{sys.executable} -m {last.split('To go on: ')[1]}"
    again = subprocess.run(["bash", "-c", printed], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"texts: {done} of 80" in again.stderr
    assert len(latentext.open_dataset(tmp_path / "long").records(["index"])) == 80


def test_the_exit_code_of_a_run_with_failures_is_4(tmp_path: Path) -> None:
    """One prompt is longer than the context: it fails and is recorded, the other is written."""
    (tmp_path / "long.yaml").write_text(
        f"name: long\nprompts: {{list: [Say red., '{'red ' * 3000}']}}\ndecoding: {{max_new_tokens: 5}}\noutput: long\n"
    )
    run = program("run", "long.yaml", cwd=tmp_path)
    assert run.returncode == 4, run.stderr
    assert "2 texts: 1 written, 1 failed" in run.stdout
    assert "--retry-failed" in run.stdout
    assert json.loads((tmp_path / "long" / "failures.jsonl").read_text())["reason"] == "prompt-too-long"


def test_a_summary_without_seconds_is_still_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from latentext.cli.run import print_summary

    print_summary(RunSummary(Path("d"), 3, 2, 0, 1, 0, tokens=7, seconds=0.0))
    assert capsys.readouterr().out.splitlines()[:2] == ["3 texts: 2 written, 1 failed", "7 tokens written in 0 s"]
