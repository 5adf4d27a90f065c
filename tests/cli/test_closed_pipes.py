"""A reader that leaves, such as ``head``, never costs the file that a command writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentext.cli.app import exit_code
from latentext.models.resolve import TINY_FOLDER
from latentext.studies.pairs import read_scenarios


def _with_nobody_listening(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", "latentext", *words],
            cwd=folder,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
    finally:
        os.close(writing)


@pytest.mark.slow
def test_pairs_generate_writes_its_file_before_it_prints(tmp_path: Path) -> None:
    words = ["pairs", "generate", "--rehearse", "--num-scenarios", "4", "--output", "pairs.jsonl"]
    _with_nobody_listening(words, tmp_path)
    assert len(list(read_scenarios(tmp_path / "pairs.jsonl"))) == 4


def test_pairs_split_writes_all_its_files_before_it_prints(tmp_path: Path) -> None:
    options = ["--task", "refusal", "--num-scenarios", "6", "--tokenizer", f"tiny={TINY_FOLDER}"]
    assert exit_code(["pairs", "substitute", *options, "--output", str(tmp_path / "pairs.jsonl")]) == 0
    split = ["pairs", "split", "pairs.jsonl", "--val", "0.3", "--test", "0.3"]
    _with_nobody_listening(split, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pairs.jsonl",
        "pairs.test.jsonl",
        "pairs.train.jsonl",
        "pairs.val.jsonl",
    ]
