"""The guide to batches says what the program says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from latentext.cli.app import exit_code

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "batch.md").read_text()


def test_the_costs_in_the_guide_are_those_of_the_price_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["pairs", "plan"]) == 0
    _, *table, remark = capsys.readouterr().out.splitlines()
    assert len(table) == 7
    assert "\n".join(table) in GUIDE
    assert (re.findall(r"\d{4}-\d\d-\d\d", remark) or ["?"])[0] in GUIDE


def test_every_command_of_the_guide_exists(capsys: pytest.CaptureFixture[str]) -> None:
    named = set(re.findall(r"^latentext (batch \w+|pairs \w+)", GUIDE, flags=re.MULTILINE))
    assert {"batch create", "batch submit", "batch process"} <= named
    for words in named:
        assert exit_code([*words.split(), "--help"]) == 0
        options = set(re.findall(rf"^latentext {words} .*", GUIDE, flags=re.MULTILINE))
        known = capsys.readouterr().out
        for option in (option for line in options for option in re.findall(r"--[a-z-]+", line)):
            assert option in known
