"""``--json``: what `status`, `verify` and `models` say, for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import latentext
from latentext.cli.app import exit_code


@pytest.fixture
def data(tmp_path: Path) -> Path:
    spec = {"prompts": {"list": ["Hi!", "Bye.", "So?"]}, "decoding": {"max_new_tokens": 2}, "shard_size": 2}
    latentext.make_dataset({**spec, "states": {"sites": [1]}, "rewards": ["length"]}, tmp_path / "données")
    return tmp_path / "données"


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert exit_code(list(words)) == code
    return json.loads(capsys.readouterr().out)


def test_status_says_counts_and_stages(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "status", str(data), "--json")
    assert found["directory"] == str(data)
    assert (found["requests"], found["complete"], found["spend"]) == (3, True, None)
    assert found["counts"]["accepted"] == 3
    assert {stage["stage"].split("/")[0] for stage in found["stages"]} == {"records", "states", "scores"}
    assert all((stage["shards_done"], stage["shards_planned"]) == (2, 2) for stage in found["stages"])


def test_status_of_an_unfinished_run_is_not_complete(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next(data.glob("records/*/00001.receipt.json")).unlink()
    found = said(capsys, "status", str(data), "--json")
    assert found["complete"] is False


def test_verify_lists_faults_with_their_files(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "verify", str(data), "--json") == {"directory": str(data), "faults": [], "at_work": False}
    (data / "metadata.json").write_text("{}")
    found = said(capsys, "verify", str(data), "--json", "--sample", "0", code=1)
    assert [fault["path"] for fault in found["faults"]] == ["metadata.json"]


def test_models_have_their_sizes_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "models", "tiny", "--json")
    (model,) = found["models"]
    assert model["name"] == "tiny"
    assert model["bytes"]["float32"] == 4 * model["parameters"]
    assert found["memory_bytes"] > 2**28
    assert len(said(capsys, "models", "--json")["models"]) > 3
