"""The guide's Python examples run as printed, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from latentext.rewards import BUILT_IN

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "align.md"


def test_the_examples_of_the_guide_run(materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTEXT_MATERIALS", str(materials))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert names["chosen"].shape == (100, 1)
    assert len(list((tmp_path / "results" / "temp").glob("*_0to4.json"))) == 1


def test_every_built_in_reward_is_in_the_guides_table() -> None:
    listed = re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| `.*?\|", GUIDE.read_text(), flags=re.MULTILINE)))
    assert set(BUILT_IN) <= set(listed)
