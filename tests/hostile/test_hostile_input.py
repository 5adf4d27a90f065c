"""Input that means harm, kind by kind. What other files test (YAML and gzip bombs, absurd headers, links in a dataset's
stages) is not repeated here; tests/browser has the report in a browser."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.fuzz.small_dataset import RECORDS, STATES, make_small_dataset

from latentext.cli.app import exit_code
from latentext.dataset import layout
from latentext.dataset.reader import open_dataset
from latentext.dataset.receipts import Distrust, check_shard, write_receipt
from latentext.dataset.records import write_records
from latentext.dataset.sealed import canonical_json, seal
from latentext.dataset.verify import verify_files
from latentext.engines.batch.joining import read_outputs
from latentext.engines.server.errors import of_status
from latentext.errors import DatasetError, SpecError
from latentext.export.tables import export_table
from latentext.request import Completion, Request
from latentext.spec import SplitSpec
from latentext.studies.represent.files import write_frame

ACTS = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\u2066\u200b\r\x00"
"""Clears a terminal, sets its title, colours, turns the direction, hides: each must be seen and none may act."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_small_dataset(tmp_path / "dataset")
    return tmp_path / "dataset"


def assert_inert(text: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in text), ascii(text)


# The terminal.


def test_nothing_that_a_dataset_says_acts_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_small_dataset(root := tmp_path / "dataset")
    shutil.rmtree(root / STATES)
    shutil.rmtree(root / "scores")
    request = Request(0, "0" * 32, {ACTS: ACTS}, [{"role": ACTS, "content": ACTS}], ACTS, [1, 2])
    folder = root / RECORDS
    shutil.rmtree(folder)
    folder.mkdir()
    entry = write_records(folder / layout.table_name(0), [request], [Completion(0, 0, ACTS, [5, 6], ACTS)])
    write_receipt(folder / layout.receipt_name(0), stage=RECORDS, shard=0, start=0, stop=1, files=[entry])
    (root / "states" / "x\x1b[31m").mkdir(parents=True)
    capsys.readouterr()
    assert exit_code(["show", str(root)]) == 0
    exit_code(["status", str(root)])
    exit_code(["verify", str(root), "--sample", "0"])
    written = capsys.readouterr()
    assert_inert(written.out)
    assert_inert(written.err)
    assert r"\x1b" in written.out and r"\u202e" in written.out


def test_an_error_is_one_line_that_does_not_act(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"prompts: {{file: {json.dumps('absent' + ACTS + '.jsonl')}}}\n{json.dumps('field' + ACTS)}: 1\n")
    assert exit_code(["run", str(spec), "--output", str(tmp_path / "out")]) == 2
    assert_inert(error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert_inert(str(SpecError(ACTS, where=ACTS, remedy=ACTS)))
    assert_inert(of_status(400, {"error": {"message": ACTS}}).message)


# Names and ids that lead elsewhere.


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a/../../b", "a\x00b", "CON\\..\\x"])
def test_an_id_of_a_batch_is_a_name_and_never_a_path(name: str, tmp_path: Path) -> None:
    line = {"custom_id": name, "response": {"status_code": 200, "body": {"choices": []}}}
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "output.jsonl").write_text(json.dumps(line))
    (answer,) = read_outputs([tmp_path / "outputs" / "output.jsonl"]).answers([name])
    assert answer.custom_id == name
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["output.jsonl", "outputs"]


@pytest.mark.parametrize("name", ["../../../secret.parquet", "/etc/passwd", "..", "00000.parquet/../x"])
def test_a_receipt_names_only_files_beside_it(name: str, root: Path) -> None:
    path = root / RECORDS / layout.receipt_name(0)
    fields = json.loads(path.read_bytes())
    fields["files"][0]["name"] = name
    path.write_bytes(canonical_json({**fields, "sha256": seal(fields)}))
    assert isinstance(check_shard(root, RECORDS, 0), Distrust)
    with pytest.raises(DatasetError):
        open_dataset(root).records()


# Numbers, tags and lengths that a fuzzer or a reader of the code found; the inputs are seeds in tests/fuzz/corpus too.


@pytest.mark.parametrize("counts", [[], 3, {"requests": "many"}, {"requests": []}, {"requests": 1e400}])
def test_metadata_of_other_types_is_named(counts: object, root: Path) -> None:
    metadata = json.loads((root / layout.METADATA).read_text()) | {"counts": counts}
    (root / layout.METADATA).write_text(json.dumps(metadata))
    assert verify_files(root)
    with pytest.raises(DatasetError, match=r"metadata\.json"):
        _ = open_dataset(root).plan_count


# Spreadsheets.


def test_no_cell_of_a_csv_export_is_a_formula(tmp_path: Path) -> None:
    cells = ['=HYPERLINK("http://x")', "+1+1|cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "plain", "-5", "+3.5e-7"]
    write_frame(pd.DataFrame({"=id": cells, "number": np.arange(len(cells)) - 4.0}), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["'=id", "number"]
    assert [row[0] for row in rows] == [f"'{cell}" for cell in cells[:6]] + cells[6:]
    assert [float(row[1]) for row in rows] == [n - 4.0 for n in range(len(cells))]


# Pickle.


def test_no_reading_path_unpickles(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise AssertionError("something was unpickled")

    class Refusing(pickle.Unpickler):
        def __init__(self, *arguments: object, **named: object):
            refuse()

    for owner, name in ((pickle, "load"), (pickle, "loads"), (torch, "load"), (pd, "read_pickle"), (np, "load")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", Refusing)
    assert verify_files(root) == []
    dataset = open_dataset(root)
    assert dataset.records().num_rows == 4
    assert dataset.to_pandas().shape[0] == 4
    assert dataset.states("final_norm")[:].shape == (12, 2)
    assert dataset.states("final_norm").torch().shape == (12, 2)
    assert dataset.scores("length").num_rows == 4
    assert dataset.split(SplitSpec(val=0.3))["train"].size == 3
    assert export_table(dataset, tmp_path / "t.jsonl") == 4
    for name in ("status", "verify", "show"):
        assert exit_code([name, str(root), *(["--sample", "0"] if name == "verify" else [])]) == 0
    from latentext.report.making import make_report

    assert make_report(dataset, tmp_path / "report").pictures


def test_a_pickle_under_the_name_of_a_dataset_file_is_damage(root: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("false",)

    for name in (f"{RECORDS}/00000.parquet", f"{STATES}/00000-000.safetensors"):
        path = root / name
        path.write_bytes(pickle.dumps(Boom()).ljust(path.stat().st_size, b"\0"))
        os.utime(path, (0, 0))  # As a bit that flips by itself: no new time.
    dataset = open_dataset(root)
    for look in (dataset.records, lambda: dataset.states("final_norm")[:]):
        with pytest.raises(DatasetError, match="damaged"):
            look()
    assert {finding.path for finding in verify_files(root)} >= {f"{RECORDS}/00000.parquet"}
