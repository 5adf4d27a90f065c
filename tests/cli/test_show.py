"""`latentext show` on a dataset written with the real writers: what a reader of texts sees, and what it never sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from latentext.cli.app import exit_code
from latentext.dataset import layout
from latentext.dataset.receipts import write_receipt
from latentext.dataset.records import write_records
from latentext.prompts.tokenizer import load_tokenizer
from latentext.request import Completion, Request
from latentext.spec import Spec
from latentext.spec.files import dump_spec

TEXTS = ("hello hello\n", "red\x1b[31m \u202eevil", "cut at the")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three texts in two shards; the last was cut at the limit."""
    root = tmp_path_factory.mktemp("dataset")
    (root / "spec.yaml").write_text(dump_spec(Spec(prompts={"list": list(TEXTS)})))
    folder = layout.records_folder(range(1))
    (root / folder).mkdir(parents=True)
    tokenizer = load_tokenizer("tiny")
    for shard, indices in enumerate(([0, 1], [2])):
        requests, completions = [], []
        for index in indices:
            messages = [{"role": "user", "content": f"write\t{index}"}]
            requests.append(Request(index, f"{index:064}", {"number": index}, messages, "prompt", [1, 2]))
            ids = tokenizer.encode(TEXTS[index], add_special_tokens=False)
            reason = "length" if index == 2 else "stop"
            ids += [] if reason == "length" else [tokenizer.eos_token_id]
            completions.append(Completion(index, 0, TEXTS[index], ids, reason))
        entry = write_records(root / folder / layout.table_name(shard), requests, completions)
        place = root / folder / layout.receipt_name(shard)
        write_receipt(place, stage=folder, shard=shard, start=indices[0], stop=indices[-1] + 1, files=[entry])
    return root


def shown(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert exit_code(["show", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_each_token_stands_over_the_number_of_tokens_to_come(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, dataset, "-n", "1").splitlines()
    count = len(load_tokenizer("tiny").encode(TEXTS[0], add_special_tokens=False)) + 1
    assert lines[0] == f"#0  {count} tokens, stop  number=0"
    assert lines[1] == r"user: write\t0"
    assert lines[2].replace("│", "").replace(" ", "") == r"hello·hello\n<|eot_id|>"
    assert lines[3].split() == [str(number) for number in reversed(range(count))]


def test_a_text_cut_at_the_limit_has_no_known_remaining_length(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, dataset, "--from", "2").splitlines()
    assert lines[0].startswith("#2  ")
    assert set(lines[3].split()) == {"?"}


def test_what_a_model_wrote_cannot_act_on_the_terminal(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, dataset)
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert output.count("#") == 3


def test_past_the_end_there_is_nothing_and_that_is_said(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, dataset, "--from", "3") == "No texts from request 3 on.\n"


def test_a_cut_file_is_named_and_not_a_shorter_list(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(dataset, tmp_path / "copy")
    table = copy / layout.records_folder(range(1)) / layout.table_name(0)
    table.write_bytes(table.read_bytes()[:-10])
    assert exit_code(["show", str(copy)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"latentext: {table}: ")


PAIRS = Path(__file__).parents[1] / "data" / "made_by_0.1.0" / "pairs"


def test_given_texts_are_not_called_cut_by_any_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = str(shutil.copytree(PAIRS, tmp_path / "pairs"))
    assert exit_code(["show", pairs]) == 0
    assert "#0  given: the model read it and wrote nothing" in capsys.readouterr().out
    assert exit_code(["report", pairs]) == 0
    said = capsys.readouterr().out
    assert said.count("the texts were given: the model wrote nothing") == 5
    assert "cut" not in said and "no texts yet" not in said
    assert "cut at" not in (tmp_path / "pairs" / "report" / "index.html").read_text()
    for command in (["probe", pairs], ["export", pairs, str(tmp_path / "npy"), "--to", "npy"]):
        assert exit_code(command) == 1
        error = capsys.readouterr().err
        assert "the model wrote nothing" in error and "cut" not in error and "capture" not in error
