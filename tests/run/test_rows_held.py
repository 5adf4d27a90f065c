"""Columns that a prompt does not name are held to what was planned: equal prompts never get each other's labels.

In 0.1.0 a plan knew the token ids of its prompts alone. Whatever exchanged the rows of equal prompts between two runs
then gave one dataset with the columns of both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.run.made import contents

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.receipts import sha256_of
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import SpecError
from latentext.run.merging import merge_parts
from latentext.run.part import RunPart
from latentext.run.runner import RunSummary, make_dataset
from latentext.run.verification import verify
from latentext.spec import Spec
from latentext.spec.files import load_spec

OLD = Path(__file__).parents[1] / "data" / "made_by_0.1.0"
Run = Callable[..., RunSummary]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., None]:
    """Writes the file of prompts: four equal ones with these labels."""

    def write(*labels: str) -> None:
        lines = [json.dumps({"q": "red", "label": label}) + "\n" for label in labels]
        (tmp_path / "p.jsonl").write_text("".join(lines))

    return write


@pytest.fixture
def run(tmp_path: Path, spec: Spec, engine: TransformersEngine) -> Run:
    def make(
        output: str = "data", part: RunPart | None = None, retry_failed: bool = False, **fields: Any
    ) -> RunSummary:
        prompts = {"file": str(tmp_path / "p.jsonl"), "template": "Say {q}.", "use_chat_template": False}
        prompts |= fields.pop("prompts", {})
        whole = {"name": "s", "model": spec.model.model_dump(), "prompts": prompts, "decoding": {"max_new_tokens": 3}}
        made = load_spec({**whole, "shard_size": 1, **fields})
        return make_dataset(made, tmp_path / output, engine=engine, part=part, retry_failed=retry_failed)

    return make


def labels(root: Path) -> list[str]:
    return [
        json.loads(v)["label"] for v in latentext.open_dataset(root).records(["variables"])["variables"].to_pylist()
    ]


def refused(root: Path, act: Callable[[], object], words: str) -> None:
    before = {name: content for name, content in contents(root).items() if not name.startswith("plan/input")}
    with pytest.raises(SpecError, match=words):
        act()
    after = {name: content for name, content in contents(root).items() if not name.startswith("plan/input")}
    assert after == before


def test_rows_reversed_between_two_runs_are_refused_with_row_and_column(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B", "C", "D")
    run(prompts={"limit": 2})
    rows("D", "C", "B", "A")
    words = r"row 0: 'label' was \"A\" and is \"D\"; restore the input, or start again with --fresh .*Rows that changed"
    refused(tmp_path / "data", run, words)
    rows("A", "B", "C", "D")
    assert run().accepted == 4
    assert labels(tmp_path / "data") == ["A", "B", "C", "D"]
    assert verify(tmp_path / "data") == []


def test_a_column_corrected_after_a_finished_run_is_refused(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B", "C", "D")
    run()
    rows("A", "B", "X", "D")
    refused(tmp_path / "data", run, r"row 2: .label. was \"C\" and is \"X\"; restore .*Rows that changed")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"q": "red", "label": "B", "source": "s"}, "row 1: it has 'source' now, \"s\", which it did not have"),
        ({"q": "red"}, "row 1: it has no 'label' any more, which was \"B\""),
        ({"q": "red", "label": ["B"]}, 'row 1: \'label\' was "B" and is \\["B"\\]'),
        ({"q": "red", "label": None}, "row 1: 'label' was \"B\" and is null"),
    ],
)
def test_a_column_that_is_new_gone_or_of_another_type_is_refused(
    tmp_path: Path, rows, run: Run, line: dict[str, Any], words: str
) -> None:
    rows("A", "B")
    run()
    lines = (tmp_path / "p.jsonl").read_text().splitlines()
    (tmp_path / "p.jsonl").write_text("\n".join([lines[0], json.dumps(line)]) + "\n")
    refused(tmp_path / "data", run, words)


def test_columns_in_another_order_are_the_same_row(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B")
    run()
    (tmp_path / "p.jsonl").write_text('{"label": "A", "q": "red"}\n{"label": "B", "q": "red"}\n')
    assert run().pending == 0


def test_a_run_killed_in_the_middle_is_not_continued_with_other_rows(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B", "C", "D")
    run()
    for path in (tmp_path / "data" / "records" / "s0000-0000").glob("0000[23]*"):
        path.unlink()
    rows("A", "B", "D", "C")  # Only rows of which no record tells.
    refused(
        tmp_path / "data", run, "row 2: its prompt is the one that was planned, another column is not; .* label: 'D'"
    )


def test_more_samples_are_not_drawn_for_other_rows(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B")
    drawn = {"max_new_tokens": 3, "temperature": 1.0}
    run(decoding=drawn)
    rows("B", "A")
    refused(tmp_path / "data", lambda: run(decoding=drawn | {"n": 3}), r"row 0: 'label' was \"A\" and is \"B\"")


def test_a_shard_is_not_repaired_with_another_row(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B", "C")
    run()
    (tmp_path / "data" / "records" / "s0000-0000" / "00001.receipt.json").unlink()
    rows("A", "X", "C")
    refused(tmp_path / "data", run, "row 1: ")
    rows("A", "B", "Y")
    refused(tmp_path / "data", lambda: run(retry_failed=True), r"row 2: 'label' was \"C\" and is \"Y\"")


def test_a_grid_variable_that_the_template_does_not_use_is_held(tmp_path: Path, spec: Spec, engine) -> None:
    def make(labels: list[str]) -> RunSummary:
        prompts = {"template": "Say {w}.", "grid": {"w": ["red"], "label": labels}, "use_chat_template": False}
        fields = {"model": spec.model.model_dump(), "prompts": prompts, "decoding": {"max_new_tokens": 3}}
        return make_dataset(load_spec(fields), tmp_path / "data", engine=engine)

    make(["A", "B"])
    with pytest.raises(SpecError, match=r"made with another prompts.grid: row 0: 'label' was \"A\" and is \"B\""):
        make(["B", "A"])


def test_temperatures_and_templates_name_the_row_that_changed(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B", "C")
    fields = {
        "prompts": {"template": None, "templates": ["Say {q}.", "Write {q}."]},
        "decoding": {"max_new_tokens": 2, "temperature": [0.5, 1]},
    }
    run(**fields)
    rows("A", "B", "X")
    refused(tmp_path / "data", lambda: run(**fields), r"row 2 \(request 4\): 'label' was \"C\" and is \"X\"")


def test_parts_that_were_made_of_other_rows_are_not_merged(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B", "C", "D")
    run("one", part=RunPart(1, 2))
    rows("A", "B", "C", "X")
    run("two", part=RunPart(2, 2))
    # Rows from Hugging Face have no hash of their own in the plan; here their digests alone are left to tell.
    note = json.loads((tmp_path / "one" / "plan" / "plan.json").read_text())
    other = json.loads((tmp_path / "two" / "plan" / "plan.json").read_text())
    other["source"] = note["source"]
    del other["sha256"]
    (tmp_path / "two" / "plan" / "plan.json").write_text(json.dumps(other))
    with pytest.raises(SpecError, match=r"made by another run than .*one: the prompts' columns differ"):
        merge_parts([tmp_path / "one", tmp_path / "two"], tmp_path / "whole")


def test_verify_names_a_record_whose_columns_are_not_those_that_were_planned(tmp_path: Path, rows, run: Run) -> None:
    rows("A", "B")
    run()
    root = tmp_path / "data"
    path = root / "records" / "s0000-0000" / "00001.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("variables")
    pq.write_table(table.set_column(place, table.schema.field(place), [['{"q": "red", "label": "A"}']]), path)
    from latentext.dataset.receipts import read_receipt, write_receipt

    receipt = read_receipt(path.with_name("00001.receipt.json"))
    entry = receipt.files[0].model_copy(update={"sha256": sha256_of(path), "size": path.stat().st_size})
    facts = receipt.model_dump(exclude={"format_version", "sha256", "files", "failures"})
    write_receipt(path.with_name("00001.receipt.json"), **facts, files=[entry], failures=[])
    found = [str(finding) for finding in verify(root, sample=0)]
    assert len(found) == 1
    assert "request 1: its variables or messages are not those of the row that was planned" in found[0]


# Plans of 0.1.0, which hold no rows.


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def _bank(old: Path, *options: str) -> int:
    return exit_code(["run", str(old / "bank.yaml"), "--output", str(old / "bank"), *options])


def test_a_plan_of_0_1_0_gets_the_digests_of_its_rows_and_is_held_to_them(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = (old / "bank" / "plan" / "digests.u64").read_bytes()
    assert _bank(old) == 0
    note = json.loads((old / "bank" / "plan" / "plan.json").read_text())
    assert (note["version"], note["count"]) == (2, 3)
    assert len(np.fromfile(old / "bank" / "plan" / "rows.u64", "<u8")) == 3
    assert (old / "bank" / "plan" / "digests.u64").read_bytes() == digests
    lines = (old / "bank.jsonl").read_text().replace('"c"', '"x"')
    (old / "bank.jsonl").write_text(lines)
    capsys.readouterr()
    assert _bank(old, "--set", "prompts.limit=4") == 2
    assert 'row 2: \'kind\' was "c" and is "x"; restore the input' in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--set", "prompts.limit=4"), ("--set", "decoding.n=4")])
def test_other_rows_under_a_dataset_of_0_1_0_are_refused_with_the_version(
    old: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (old / "bank.jsonl").read_text().splitlines()
    lines[0], lines[2] = lines[2], lines[0]  # Equal prompts, so their token ids say nothing.
    (old / "bank.jsonl").write_text("\n".join(lines) + "\n")
    before = {name: content for name, content in contents(old / "bank").items() if not name.startswith("plan/input")}
    assert _bank(old, *options) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert 'row 0: \'kind\' was "a" and is "c" (compared with the finished records: a plan of latentext 0.1.0' in said
    after = {name: content for name, content in contents(old / "bank").items() if not name.startswith("plan/input")}
    assert after == before


def test_rows_of_0_1_0_that_no_text_was_made_of_yet_are_taken_as_they_are_now(old: Path) -> None:
    root = old / "bank"
    shutil.rmtree(root / "scores")
    for path in root.glob("records/*/00001.*"):
        path.unlink()
    lines = (old / "bank.jsonl").read_text().replace('"c"', '"x"')
    (old / "bank.jsonl").write_text(lines)
    assert _bank(old) == 0
    kinds = {
        json.loads(row)["kind"] for row in latentext.open_dataset(root).records(["variables"])["variables"].to_pylist()
    }
    assert kinds == {"a", "b", "x"}
    assert verify(root, sample=0) == []
