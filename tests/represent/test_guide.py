"""The guide's examples run as printed, and gpi-pack, where it is installed, reads what they leave."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "represent.md"
_GPI_PYTHON = "LATENTEXT_GPI_PYTHON"

ESTIMATE = """
import sys
import numpy as np
import pandas as pd
import torch
from gpi_pack import estimate_k_ate, load_hiddens

folder, names = sys.argv[1], sys.argv[2:]
R = load_hiddens(folder, names, prefix="hidden_")
assert R.shape[0] == len(names) and R.ndim == 2 and np.isfinite(R).all(), R.shape
torch.manual_seed(0)
rng = np.random.default_rng(0)
R = np.repeat(R, 25, axis=0) + rng.normal(0, 0.01, (25 * len(R), R.shape[1])).astype("float32")
T = rng.integers(0, 2, len(R))
Y = 2.0 * T + rng.normal(0, 0.1, len(R))
effect, error = estimate_k_ate(
    R=R, Y=Y, T=T, K=2, plot_propensity=False, nepoch=30, lr=1e-3, architecture_z=[16], architecture_y=[16, 1]
)[:2]
print(effect, error)
assert np.isfinite(effect) and np.isfinite(error)
"""


def blocks() -> list[str]:
    """The Python examples, in order."""
    return re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


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
    assert len(blocks()) == 5
    assert names["vectors"].shape == (8, 192)  # type: ignore[attr-defined]
    assert list(names["frame"]["kind"]) == [1] * 4 + [0] * 4  # type: ignore[index]
    assert names["segments"].states.ndim == 3  # type: ignore[attr-defined]
    assert (folder / "reviews" / "hidden" / "hidden_r7.pt").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not repeated exactly")
def test_gpi_pack_loads_the_vectors_and_estimates(walked: tuple[Path, dict[str, object]]) -> None:
    python = os.environ.get(_GPI_PYTHON)
    if python is None:
        pytest.skip(f"no environment with gpi-pack; name its python in {_GPI_PYTHON}")
    folder, _ = walked
    names = [f"r{number}" for number in range(8)]
    run = subprocess.run(
        [python, "-c", ESTIMATE, str(folder / "reviews" / "hidden"), *names],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
