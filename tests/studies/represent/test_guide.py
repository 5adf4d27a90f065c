"""The guide's examples run as printed, and gpi-pack, where it is installed, reads what they leave."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "represent.md"
_GPI_PYTHON = "LATENTEXT_GPI_PYTHON"


def blocks(language: str = "python") -> list[str]:
    """The examples that begin so, in order."""
    text = GUIDE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """The folder and the names after all examples have run in it, one after the other."""
    folder = tmp_path_factory.mktemp("guide")
    names: dict[str, object] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks():
            exec(compile(block, str(GUIDE), "exec"), names)
    finally:
        os.chdir(before)
    return folder, names


@pytest.mark.filterwarnings("ignore:.*not repeated exactly")
def test_the_examples_of_the_guide_run(walked: tuple[Path, dict[str, object]]) -> None:
    folder, names = walked
    assert len(blocks()) == 6
    assert names["vectors"].shape == (120, 192)  # type: ignore[attr-defined]
    assert list(names["frame"]["kind"]) == ([1] * 6 + [0] * 6) * 10  # type: ignore[index]
    assert np.array_equal(names["kept"]["final_norm"], names["segments"].states)  # type: ignore[attr-defined, index]
    assert (folder / "reviews" / "hidden" / "hidden_r7.pt").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not repeated exactly")
def test_the_guides_command_makes_the_files_of_its_call(walked: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    folder, _ = walked
    (command,) = re.findall(r"^    latentext (represent .*)$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    shutil.copy(folder / "reviews.csv", tmp_path)
    run = subprocess.run([sys.executable, "-m", "latentext", *command.split()], cwd=tmp_path, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    for name in ("texts_fidelity.csv", "hidden/hidden_r7.pt", "texts_prompts.jsonl"):
        assert (tmp_path / "reviews" / name).read_bytes() == (folder / "reviews" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not repeated exactly")
def test_gpi_pack_loads_the_vectors_and_estimates(walked: tuple[Path, dict[str, object]]) -> None:
    python = os.environ.get(_GPI_PYTHON)
    if python is None:
        pytest.skip("no environment with gpi-pack: `make test-gpi` makes one and runs this test")
    folder, names = walked
    (estimate,) = blocks("python gpi-pack")
    run = subprocess.run(
        [python, "-c", estimate], capture_output=True, text=True, cwd=folder, env={**os.environ, "MPLBACKEND": "agg"}
    )
    assert run.returncode == 0, run.stderr[-2000:]
    said = re.search(r"^(\d+) texts: effect (-?\d+\.\d+), standard error (\d+\.\d+)$", run.stdout, re.MULTILINE)
    assert said is not None, run.stdout
    exact = names["faithful"]
    assert int(said[1]) == len(exact) > 60  # type: ignore[arg-type]
    assert float(said[3]) > 0
