"""Quantised weights: rounded while they are loaded, or refused where they cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import latentext
from latentext.engines.transformers.loading import load_model
from latentext.errors import EngineError, SpecError
from latentext.models.resolve import TINY_FOLDER
from latentext.run.runner import make_dataset
from latentext.spec import ModelSpec, Spec


def test_weights_stored_for_a_gpu_are_refused_on_a_cpu(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TINY_FOLDER, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="stored as gptq, which is read on a GPU only"):
        load_model(ModelSpec(name=str(folder), device="cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_weights_are_rounded_while_they_are_loaded_and_write_texts(tmp_path: Path, bits: str) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (extra `quantized`)")
    pytest.importorskip("accelerate", reason="accelerate is not installed (extra `quantized`)")
    spec = Spec(
        model={"name": "tiny", "quantization": f"bitsandbytes-{bits}"},
        prompts={"template": "Say {word}.", "grid": {"word": ["red", "blue"]}},
        decoding={"max_new_tokens": 5},
    )
    assert make_dataset(spec, tmp_path / "d").accepted == 2
    data = latentext.open_dataset(tmp_path / "d")
    assert [text.split()[0] for text in data.records(["text"])["text"].to_pylist()] == ["red", "blue"]
    assert data.provenance["identity"]["model.quantization"] == f"bitsandbytes-{bits}"


def test_rounding_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentext.engines.transformers.loading.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"bitsandbytes is not installed; pip install 'latentext\[quantized\]'"):
        load_model(ModelSpec(quantization="bitsandbytes-8bit"))
