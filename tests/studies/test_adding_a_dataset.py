"""The guide to adding a dataset runs as it is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import latentext
from latentext.spec.files import load_spec
from latentext.spec.yaml_text import parse_yaml

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "adding-a-dataset.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_guide_runs_as_printed(tmp_path: Path) -> None:
    spec, *_ = blocks("yaml")
    (tmp_path / "countdown.yaml").write_text(spec)
    for line in "".join(blocks("bash")).splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "latentext"
        run = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, f"{line}: {run.stderr}"
    (example,) = blocks("python")
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    data = latentext.open_dataset(tmp_path / "data" / "countdown")
    assert data.records().num_rows == 20
    assert set(data.score_sets) == {"length", "launch"}
    assert len(data.captures) == 2
    assert np.load(tmp_path / "data" / "by_hand" / "train_hidden_states.npy").ndim == 2


def test_every_field_in_the_table_is_a_field() -> None:
    base = "prompts: {template: 'Say {word} {count}', grid: {word: [a], count: [1]}}"
    fields = re.findall(r"`((?:states|decoding|split|check): \{.*?\})`(?=[ ;:|])", GUIDE)
    assert len(fields) >= 6
    for field in [*fields, blocks("yaml")[1].strip()]:
        load_spec({**_parsed(base), **_parsed(field)})


def _parsed(text: str) -> dict[str, object]:
    fields = parse_yaml(text)
    assert isinstance(fields, dict)
    return fields
