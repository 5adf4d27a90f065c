"""What represent says and keeps: the system message, texts that were cut, and the columns of the input."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import latentext
from latentext.cli.app import exit_code
from latentext.errors import ArgumentError
from latentext.studies.represent.extract import extract_and_save_hidden_states
from latentext.studies.represent.options import SYSTEM_TEXTS

PROMPTS = ["Say hello.", "Write a biography of John Doe.", "Say sun."]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table whose columns have the names of the frame's own, and one that some rows lack."""
    rows = [
        {"text": prompt, "P": "p", "input.X": k, "X": -k, "cut": "never", "name": f"n{k}", "stars": 5 - k}
        for k, prompt in enumerate(PROMPTS)
    ]
    rows[1]["only here"] = "yes"
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_frame_keeps_the_other_columns_and_marks_texts_that_were_cut(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["represent", str(file), "-o", str(tmp_path / "out"), "--column", "text", "--id-column", "name"]
    assert exit_code([*words, "--max-new-tokens", "6"]) == 0
    said = capsys.readouterr().err
    frame = pd.read_pickle(tmp_path / "out" / "texts.pkl")
    reasons = (
        latentext.open_dataset(tmp_path / "out" / "texts_dataset")
        .records(["finish_reason"])
        .to_pydict()["finish_reason"]
    )
    assert frame["cut"].tolist() == [reason != "stop" for reason in reasons]
    assert 0 < frame["cut"].sum() < 3
    names = ", ".join(frame["name"][frame["cut"]])
    assert f"{frame['cut'].sum()} of 3 texts were cut at 6 tokens or the model's context ({names})" in said
    assert list(frame["P"]) == PROMPTS and list(frame["stars"]) == [5, 4, 3]
    assert list(frame["input.X"]) == [0, 1, 2] and list(frame["input.input.X"]) == [0, -1, -2]
    assert list(frame["input.P"]) == ["p"] * 3 and list(frame["input.cut"]) == ["never"] * 3
    assert frame["only here"].isna().tolist() == [True, False, True]
    assert "text" not in frame


def test_python_keeps_the_columns_of_a_data_frame(tmp_path: Path) -> None:
    table = pd.DataFrame({"kind": [0, 1, 0], "stars": [1.5, 2.5, 3.5]}, index=["a", "b", "c"])
    arguments = (PROMPTS, tmp_path / "h", tmp_path / "t", "tiny", "tiny")
    made = extract_and_save_hidden_states(*arguments, ids=table.index, columns=table)
    frame = pd.read_pickle(made.frame)
    assert frame["kind"].tolist() == [0, 1, 0] and frame["stars"].tolist() == [1.5, 2.5, 3.5]
    assert made.cut == [] and made.system == SYSTEM_TEXTS["create"]
    with pytest.raises(ArgumentError, match=r"columns\['stars'\]: 2 values for 3 prompts"):
        extract_and_save_hidden_states(*arguments, columns={"stars": [1, 2]})


@pytest.mark.parametrize(
    ("task", "system"), [("create", SYSTEM_TEXTS["create"]), ("repeat", SYSTEM_TEXTS["repeat"]), ("Rhyme.", "Rhyme.")]
)
def test_the_system_message_is_in_the_dry_run_the_output_the_card_and_the_documentation(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, system: str
) -> None:
    words = ["represent", str(file), "-o", str(tmp_path / "out"), "--column", "text", "--task", task]
    words += ["--max-new-tokens", "8"]
    assert exit_code([*words, "--dry-run"]) == 0
    assert system in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert exit_code(words) == 0
    assert f"system message before each prompt: {system}" in capsys.readouterr().out
    assert f"| system message | `{system}` |" in (tmp_path / "out" / "texts_dataset" / "README.md").read_text()
    guide = (Path(__file__).parents[3] / "docs" / "represent.md").read_text()
    assert task == "Rhyme." or f"| `{task}` | {system} |" in guide
