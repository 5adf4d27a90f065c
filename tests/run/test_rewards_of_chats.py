"""Scores by a reward model with a chat template, beside those of raw text that version 0.1.0 made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

import latentext
from latentext.cli.app import exit_code
from latentext.engines.transformers.engine import TransformersEngine
from latentext.models import resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.run.progress import NoProgress
from latentext.run.runner import score_texts
from latentext.run.verification import verify

Copied = Callable[..., Path]


class _Notes(NoProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def skywork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    tokenizer = load_tokenizer(resolve_model("tiny"))
    config: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "pad_token_id": 0}
    folder = tmp_path_factory.mktemp("skywork")
    LlamaForSequenceClassification(
        LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, num_labels=1, **config)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_scores_of_raw_text_by_0_1_0_are_named_and_never_mixed_with_those_of_the_template(
    copied: Copied, engine: TransformersEngine, skywork: Path
) -> None:
    root = copied()
    # What 0.1.0 kept for {name: r, classifier: FOLDER}: the same folder, columns and settings.
    score_texts(root, [{"name": "r", "classifier": str(skywork), "input": "full_text"}], engine=engine)
    [raw] = latentext.open_dataset(root).rewards
    before = latentext.open_dataset(root).scores("r")
    notes = _Notes()
    score_texts(root, [{"name": "r", "classifier": str(skywork)}], engine=engine, progress=notes)
    assert [line for line in notes.lines if raw in line and "0.1.0" in line and "chat template" in line]
    data = latentext.open_dataset(root)
    assert set(data.score_sets) == {"r", raw}
    assert data.scores(raw) == before
    assert data.scores("r").num_rows == before.num_rows and data.scores("r") != before
    assert verify(root) == []


def test_the_card_says_what_each_reward_model_reads(copied: Copied, engine: TransformersEngine, skywork: Path) -> None:
    root = copied()
    rewards = [
        {"name": "chat", "classifier": str(skywork)},
        {"name": "raw", "classifier": str(skywork), "input": "full_text"},
        "length",
    ]
    score_texts(root, rewards, engine=engine)
    lines = (root / "README.md").read_text().splitlines()
    of = {name: next(line for line in lines if line.startswith(f"| `{name}-")) for name in ("chat", "raw", "length")}
    assert "its own chat template" in of["chat"]
    assert "prompt and text as one raw text" in of["raw"]
    assert of["length"].endswith("|  |")


def test_a_dataset_of_0_1_0_keeps_its_card_until_a_template_is_read(tmp_path: Path, skywork: Path) -> None:
    root = Path(shutil.copytree(Path(__file__).parents[1] / "data" / "made_by_0.1.0", tmp_path / "old")) / "bank"
    reward = json.dumps({"name": "r", "classifier": str(skywork), "input": "full_text"})
    assert exit_code(["score", str(root), "--reward", reward]) == 0
    assert "reads" not in (root / "README.md").read_text()  # Else `verify` would accuse every such dataset.
    assert exit_code(["score", str(root), "--reward", json.dumps({"name": "r", "classifier": str(skywork)})]) == 0
    assert "its own chat template" in (root / "README.md").read_text()
    assert exit_code(["verify", str(root)]) == 0
    assert exit_code(["align", "weigh", str(root), "--value_list=r", "--lam_list=0.5"]) == 0
