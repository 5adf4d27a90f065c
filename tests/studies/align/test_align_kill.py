"""`TextGeneration` in a process that is killed: the same call afterwards writes the files of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CALL = """
import sys
from latentext.studies.align import generation

generation.PROMPTS_A_SHARD = 2
made = generation.TextGeneration("tiny", "Anthropic-harmless", sys.argv[1], max_new_tokens=24)
made.generate_from_MC_aligned_model([2.0, -0.1], ["sentiment", "length"], 4, 0, 16)
"""
"""Two prompts a shard, so that there is a middle."""


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", CALL, str(folder)])


def kill_once_there_are(receipts: int, stage: str, folder: Path) -> None:
    """Make the call in a process and send it SIGKILL once so many shards of a stage are done."""
    with start(folder) as process:
        deadline = time.monotonic() + 300
        while len(list(folder.glob(f"*/{stage}/*/*.receipt.json"))) < receipts:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "nothing arrived"
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def mapped_files(folder: Path) -> dict[str, bytes]:
    """The drawn texts as MAP's package writes them, and the exact λ beside them."""
    return {path.name: path.read_bytes() for path in folder.glob("temp/*") if path.is_file()}


@pytest.mark.slow
def test_generation_killed_among_texts_and_among_scores_continues_to_the_same_json_files(
    tmp_path: Path, local_prompts: Path
) -> None:
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    kill_once_there_are(2, "records", disturbed)
    assert not list(disturbed.glob("*/scores/*/*.receipt.json"))
    assert mapped_files(disturbed) == {}
    kill_once_there_are(3, "scores", disturbed)
    assert mapped_files(disturbed) == {}
    for folder in (disturbed, calm):
        with start(folder) as process:
            assert process.wait() == 0
    found = mapped_files(disturbed)
    assert any(name.endswith(".json") for name in found)
    assert found == mapped_files(calm)
