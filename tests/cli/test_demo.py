"""`latentext demo` from first to last: what a newcomer gets in the first minutes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import latentext
from latentext.cli.app import exit_code

FIELDS = {
    "dataset_id",
    "description",
    "model_name",
    "prompt_template",
    "counts_range",
    "words",
    "total_samples",
    "total_tokens",
    "layers_extracted",
    "num_layers",
    "extracted_layer_indices",
    "hidden_dim_per_layer",
    "total_hidden_dim",
}


@pytest.mark.slow
def test_the_demo_makes_450_texts_with_a_state_behind_every_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(["demo"]) == 0
    output = capsys.readouterr().out
    assert "450 texts: 450 accepted" in output
    assert "user: Print exactly 5 repetitions of" in output
    data = latentext.open_dataset("data/same_prompt")
    variables = [json.loads(text) for text in data.records(["variables"])["variables"].to_pylist()]
    assert [row["count"] for row in variables] == [count for count in range(5, 50) for _ in range(10)]
    assert len({row["word"] for row in variables}) == 10
    tokens = sum(len(ids) for ids in data.records(["token_ids"])["token_ids"].to_pylist())
    assert data.states("final_norm").shape == (tokens, 192)

    arrays = Path("data/same_prompt_npy")
    metadata = json.loads((arrays / "metadata.json").read_text())
    assert set(metadata) >= FIELDS
    assert metadata["counts_range"] == [5, 49]
    for split in ("train", "val"):
        states = np.load(arrays / f"{split}_hidden_states.npy", allow_pickle=False)
        remaining = np.load(arrays / f"{split}_remaining_tokens.npy", allow_pickle=False)
        token = np.load(arrays / f"{split}_token_metadata.npy", allow_pickle=False)
        assert states.shape == (metadata["rows"][split], 192)
        assert remaining.dtype == np.int64
        assert token.dtype == np.dtype([("token_id", "<i4"), ("token_text", "<U100")])
        assert (token["token_text"][remaining == 0] == "<|eot_id|>").all()  # a whole text ends with its end token
