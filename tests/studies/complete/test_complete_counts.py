"""Accepted, rejected and cut are the same numbers wherever completions are counted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.views import derive_metadata
from latentext.engines.server.standin import StandIn


class Made(NamedTuple):
    """A dataset, what the command said, and the counts by the texts themselves: words between spaces, ends as sent."""

    root: Path
    said: str
    accepted: int
    rejected: int
    cut: int


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Made:
    """Forty dialogues that a server went on with: of 3 to 22 words, cut behind the 12th; 5 to 112 words are legal."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": f"d{n}", "source": f"A: number {n}.", "human_completions": "B: oh.", "annotations": {}}
        for n in range(40)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with StandIn() as server:
        command = ["complete", "-d", "dailydialog", "--data", "rows.jsonl", "-mdl", "m", "--engine", "openai"]
        command += ["--length", "none", "-o", "out", "--set", "decoding.top_k=null", "--set", "length.min=5"]
        command += ["--set", "decoding.max_new_tokens=12", "--set", f"model.api.base_url={server.url}"]
        assert exit_code(command) == 0
    said = capsys.readouterr().out
    (root,) = Path("out/openai/m").iterdir()
    texts = latentext.open_dataset(root).records().to_pylist()
    cut = sum(row["finish_reason"] == "length" for row in texts)
    accepted = sum(row["finish_reason"] == "stop" and 5 <= len(row["text"].split()) <= 112 for row in texts)
    assert 0 < accepted < 40 - cut < 40  # Some are too short, some were cut.
    return Made(root, said, accepted, 40 - accepted, cut)


def test_the_last_line_status_card_metadata_frame_scores_and_page_say_the_same(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    root, said, accepted, rejected, cut = made
    assert f"40 texts: {accepted} accepted, {rejected} rejected ({cut} cut at the limit)" in said
    counts = json.loads((root / "metadata.json").read_text())["counts"]
    assert (counts["accepted"], counts["rejected"], counts["pending"]) == (accepted, rejected, 0)
    assert exit_code(["status", str(root)]) == 0
    assert f"40 of 40 texts finished ({accepted} accepted, {rejected} rejected)" in capsys.readouterr().out
    card = (root / "README.md").read_text()
    assert f"| texts | {accepted} of 40 planned |" in card
    assert f"length: {cut}" in card
    assert exit_code(["export", str(root), "tidy.parquet", "--to", "tidy"]) == 0
    tidy = pq.read_table("tidy.parquet").to_pydict()
    assert (sum(tidy["accepted"]), sum(tidy["cut"])) == (accepted, cut)
    scores = latentext.open_dataset(root).scores("length").to_pydict()
    assert (sum(scores["accepted"]), sum(scores["cut"])) == (accepted, cut)
    assert exit_code(["export", str(root), "kept.jsonl", "--to", "jsonl", "--keep", "accepted"]) == 0
    assert len(Path("kept.jsonl").read_text().splitlines()) == accepted
    assert exit_code(["verify", str(root)]) == 0


def test_the_page_counts_a_text_that_was_cut_as_not_legal(made: Made) -> None:
    from latentext.report.completions import completion_sections

    (table, *_), _ = completion_sections([latentext.open_dataset(made.root)])
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert row["legal length"] == f"{made.accepted / 40:.1%}"
    assert row["cut at the limit"] == f"{made.cut / 40:.1%}"


def test_a_dataset_of_the_first_version_keeps_its_counts(made: Made) -> None:
    root = made.root
    facts = json.loads((root / "provenance.json").read_text())
    facts["versions"]["latentext"] = "0.1.0"
    del facts["sha256"]
    (root / "provenance.json").write_text(json.dumps(facts))
    counts = derive_metadata(root, latentext.open_dataset(root).spec, requests=40)["counts"]
    assert (counts["accepted"], counts["rejected"]) == (40, 0)


def test_capture_and_score_end_with_what_they_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "data")
    (tmp_path / "spec.yaml").write_text(
        "name: words\nprompts: {list: [one, two, three]}\ndecoding: {max_new_tokens: 9}\nshard_size: 2\n"
    )
    assert exit_code(["run", str(tmp_path / "spec.yaml"), "-o", root]) == 0
    assert "3 texts: 3 written\n" in capsys.readouterr().out
    rows = sum(len(row["token_ids"]) for row in latentext.open_dataset(root).records().to_pylist())
    assert exit_code(["capture", root, "--sites", "final_norm,embed"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"states of 3 texts added: {rows} rows (positions generated) at final_norm, embed",
        f"dataset: {root}",
    ]
    assert exit_code(["capture", root, "--sites", "embed"]) == 0
    assert capsys.readouterr().out.startswith("nothing to add: these states are there\n")
    assert exit_code(["score", root, "--reward", "length", "--reward", "diversity"]) == 0
    assert re.findall(r"3 texts scored: (\w+)", capsys.readouterr().out) == ["length", "diversity"]
    assert exit_code(["score", root]) == 0
    assert capsys.readouterr().out.startswith("nothing to score: these scores are there\n")
