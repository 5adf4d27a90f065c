"""``latentext align`` and ``python -m latentext.gendata``, offline on the real prompts, as a user types them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentext.cli.app import exit_code

OPTIONS = ["--max_new_tokens=6", "--save_directory"]
VALUES = ["--lam_list=-0.5,0.25", "--value_list=sentiment,length"]


def said(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    """What a command prints; its errors, where it is to fail."""
    found = exit_code([str(word) for word in words])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return captured.out if code == 0 else captured.err


@pytest.fixture(scope="module")
def results(materials: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards drawn by MAP's own command line, in a process of its own."""
    folder = tmp_path_factory.mktemp("align") / "results"
    for start, end in ((0, 4), (4, 9)):
        run = subprocess.run(
            [sys.executable, "-m", "latentext.gendata", "generate_from_MC_aligned_model", *VALUES, "--MC_nsamples=6",
             f"--start_index={start}", f"--end_index={end}", *OPTIONS, str(folder)],
            capture_output=True, text=True, encoding="utf-8",
            env={**os.environ, "LATENTEXT_MATERIALS": str(materials)},
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert f"_{start}to{end}.json ({end - start})" in run.stdout
        assert "sentiment       -0.500" in run.stdout
    return folder


@pytest.mark.slow
def test_shards_are_merged_beside_their_folder(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = "tiny-Anthropic-harmless_lam=-0.500,0.250_val=sentiment,length"
    parts = sorted((results / "temp").glob("*.json"))
    assert [part.name for part in parts] == [f"{stem}_0to4.json", f"{stem}_4to9.json"]
    printed = said(capsys, "align", "merge", results / "temp" / stem, "--prompts", "9")
    assert printed == f"9 texts of 2 parts: {results / stem}.json\n"
    rows = [row for part in parts for row in json.loads(part.read_text(encoding="utf-8"))]
    assert json.loads((results / f"{stem}.json").read_text(encoding="utf-8")) == rows
    error = said(capsys, "align", "merge", parts[1], "-o", results / "other.json", code=2)
    assert "prompts 0 to 4 are missing" in error and not (results / "other.json").exists()


@pytest.mark.slow
def test_a_bank_is_weighed_solved_swept_drawn_and_reported(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = results / "tiny-Anthropic-harmless"
    printed = said(capsys, "align", "weigh", bank, "--lam_list=2", "--value_list=length")
    assert "length           2.000" in printed and "effective sample size" in printed
    assert "best-of-6" in said(capsys, "align", "weigh", bank, "--lam_list=1e4", "--value_list=length")
    assert "pooled form" in said(capsys, "align", "weigh", bank, "--lam_list=2", "--value_list=length", "--pooled")
    solved = said(capsys, "align", "solve", bank, "--target", "length=+0.1sd", "--apply", bank, "--hold-out", "0.4")
    assert "duality gap" in solved and "held out" in solved and f"on {bank}:" in solved
    options = next(line for line in solved.splitlines() if line.startswith("λ: ")).removeprefix("λ: ").split()
    drawn = said(capsys, "align", "draw", bank, *options, "-k", "2", "--without-replacement", "-o", tmp_path / "d.json")
    assert drawn.endswith(f"18 texts of 9 prompts: {tmp_path / 'd.json'}\n")
    said(capsys, "align", "draw", bank, *options, "--best-of", "3", "--candidates", "-o", tmp_path / "c.jsonl")
    first = json.loads((tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert len(first["candidates"]) == 6 and len(first["kept"]) == 1
    said(capsys, "align", "sweep", bank, "--value_list", "length,sentiment", "--steps", "2", "-o", tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(encoding="utf-8", newline="") as file:
        assert {row["nats"] for row in csv.DictReader(file)} == {"0.1", "0.3", "1"}
    made = said(capsys, "align", "report", bank, "--target", "length=+0.1sd", "-o", tmp_path / "report")
    assert made.endswith(f"5 pictures: {tmp_path / 'report' / 'index.html'}\n") and "no radar: takes three" in made


@pytest.mark.slow
def test_errors_are_one_line_each(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = results / "tiny-Anthropic-harmless"
    for words, message in [
        (["weigh", bank], "λ needs --lam_list and --value_list; values here are sentiment, length"),
        (["weigh", bank, "--lam_list=1,2", "--value_list=length"], "2 λ for 1 values (length)"),
        (["weigh", bank, "--lam_list=1", "--value_list=mirth"], "unknown value 'mirth'; known are sentiment, length"),
        (["solve", bank], "no target given; write for example humor=+0.5sd"),
        (["solve", bank, "--target", "length=+40sd"], "of the way from the base; ask for less than length"),
        (["sweep", bank, "--value_list", "length"], "is drawn for two or three different values, not length"),
        (["report", bank, "--target", "length=3", "--lam_list=1"], "give --target or --lam_list, not both"),
        (["draw", bank, "--lam_list=1", "--value_list=length", "-k9", "--without-replacement", "-o", tmp_path / "x"],
         "cannot draw 9 of 6 samples without replacement"),
        (["sample", "--lam_list=1,2", "--value_list=sentiment", "--save_directory", tmp_path], "2 λ for 1 values"),
        (["sample", "--lam_list=1", "--value_list=length", "--MC_nsamples=1"], "one sample a prompt leaves λ nothing"),
        (["sample", "--lam_list=1", "--value_list=length", "--data_name=Imbd"], "unknown data_name 'Imbd'; known are"),
        (["merge", tmp_path / "none"], "no parts named none_…to….json"),
    ]:  # fmt: skip
        error = said(capsys, "align", *words, code=2)
        assert message in error and error.count("\n") == 1, error
    assert "no scores of humor" in said(capsys, "align", "solve", bank, "--target", "humor=+1sd", code=1)
    assert not (tmp_path / "tiny-Anthropic-harmless").exists()
