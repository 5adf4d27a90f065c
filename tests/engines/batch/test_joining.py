"""Joining answers to requests: files that a real server wrote (see the README of the materials), and spoiled ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentext.engines.batch.joining import read_outputs
from latentext.engines.batch.request_files import read_requests
from latentext.engines.server.answer import read_text
from latentext.errors import SpecError


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("litellm_output.jsonl", {"answered": 2}),
        ("error_400_unsupported_parameter.jsonl", {"bad-request": 2}),
        ("error_429_insufficient_quota.jsonl", {"quota": 1}),
        ("error_file_context_length.jsonl", {"context": 1}),
        ("expired_documented.jsonl", {"expired": 1}),
    ],
)
def test_recorded_files_give_the_right_counts(materials: Path, file: str, kinds: dict[str, int]) -> None:
    outputs = read_outputs([materials / "batch" / file])
    assert dict(outputs.tally(outputs.ids())) == kinds
    assert (outputs.broken, outputs.doubled, outputs.unknown) == (0, 0, 0)


def test_recorded_answers_are_joined_to_the_recorded_requests(materials: Path) -> None:
    folder = materials / "batch"
    asked = [line.custom_id for line in read_requests(folder / "litellm_input.jsonl")]
    answers = list(read_outputs([folder / "litellm_output.jsonl"], asked=set(asked)).answers(asked))
    texts = [read_text(answer.body or {}) for answer in answers]
    assert [text.text for text in texts] == [
        "Hello! How can I assist you today?",
        "Hello! What can I do for you today?",
    ]
    assert [text.finish_reason for text in texts] == ["stop", "length"]
    assert [text.usage.prompt_tokens for text in texts if text.usage] == [20, 22]


def test_all_recorded_files_together_are_told_apart(materials: Path) -> None:
    files = sorted((materials / "batch").glob("*.jsonl"))
    outputs = read_outputs([path for path in files if "input" not in path.name])
    assert dict(outputs.tally(outputs.ids())) == {
        "answered": 2,
        "bad-request": 2,
        "quota": 1,
        "context": 1,
        "expired": 1,
    }


def line(custom_id: str, text: str = "yes", status: int = 200) -> str:
    body = {"choices": [{"message": {"content": text}}]} if status == 200 else {"error": {"message": text}}
    return json.dumps({"custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": None})


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines))
    return path


def test_answers_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    path = write(tmp_path, "o.jsonl", line("c", "3"), "", line("a", "1"), line("b", "2"))
    answers = list(read_outputs([path]).answers(["a", "b", "c"]))
    assert [read_text(answer.body or {}).text for answer in answers] == ["1", "2", "3"]


def test_an_answer_outlives_any_number_of_errors_and_the_first_answer_counts(tmp_path: Path) -> None:
    first = write(tmp_path, "1.jsonl", line("a", status=500), line("b", "early"))
    second = write(tmp_path, "2.jsonl", line("a", "at last"), line("b", "late"), line("b", status=500))
    outputs = read_outputs([first, second])
    assert [read_text(answer.body or {}).text for answer in outputs.answers(["a", "b"])] == ["at last", "early"]
    assert outputs.doubled == 3


def test_the_last_of_several_errors_counts(tmp_path: Path) -> None:
    path = write(tmp_path, "1.jsonl", line("a", status=500), line("a", status=400))
    assert dict(read_outputs([path]).tally(["a"])) == {"bad-request": 1}


@pytest.mark.parametrize("broken", ['{"custom_id": "b", "resp', "[1, 2]", "null", '{"id": 1}', "\\xff", "[" * 100_000])
def test_a_broken_line_is_counted_and_its_request_is_missing(tmp_path: Path, broken: str) -> None:
    outputs = read_outputs([write(tmp_path, "o.jsonl", line("a"), broken)], asked={"a", "b"})
    assert outputs.broken == 1
    assert dict(outputs.tally(["a", "b"])) == {"answered": 1, "missing": 1}


def test_bytes_that_are_no_text_are_a_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_bytes(line("a").encode() + b"\n\xff\xfe\n")
    assert read_outputs([path]).broken == 1


def test_strangers_are_counted_and_left_out(tmp_path: Path) -> None:
    outputs = read_outputs([write(tmp_path, "o.jsonl", line("a"), line("z"))], asked={"a"})
    assert (list(outputs.ids()), outputs.unknown) == (["a"], 1)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"gone\.jsonl"):
        read_outputs([tmp_path / "gone.jsonl"])
