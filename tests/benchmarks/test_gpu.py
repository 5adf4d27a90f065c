"""The GPU benchmark runs anywhere, with nothing but torch, transformers and this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
NOT_NEEDED = ("rapidfuzz", "openai", "matplotlib", "spacy", "vaderSentiment", "ray", "vllm", "playwright", "hypothesis")


@pytest.mark.slow
def test_it_makes_its_table_without_the_extras(tmp_path: Path) -> None:
    result = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--shape", "tiny-random", "--prompts", "4", "--tokens", "4", "--rounds", "1"]
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({NOT_NEEDED}));"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.argv = ['gpu.py', *{arguments!r}, '--json', {str(result)!r}];"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(result.read_text())["tiny-random"]["rows"]
    assert [row["name"] for row in rows][1] == "batched, no states"
    assert len(rows) == 8 and all(row["tokens/s"] > 0 for row in rows)
    assert "| in flight, 4 sites |" in done.stdout


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT],
        capture_output=True,
        text=True,
        env={"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0 and "no GPU is visible" in done.stderr
