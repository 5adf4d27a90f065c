"""The list of models: sizes are those of the files, and damaged files are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentext.errors import SpecError
from latentext.models.catalogue import count_parameters, describe_model, suggested_models


def test_parameters_are_counted_from_the_weights_on_disk(stories260k: Path) -> None:
    assert count_parameters(stories260k) == 260_032  # the publisher's number, in the README of the materials
    assert describe_model(str(stories260k)).source == "local folder"


def test_the_built_in_model_comes_first_and_its_size_is_read_from_its_weights() -> None:
    first = suggested_models()[0]
    assert first.name == "tiny"
    assert first.parameters is not None
    assert 1_000_000 <= first.parameters <= 4_000_000


def test_a_cut_weight_file_is_named(tmp_path: Path, stories260k: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    whole = (stories260k / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(SpecError, match=r"model\.safetensors: not a safetensors file"):
        describe_model(str(tmp_path))


def test_a_folder_without_countable_weights_has_an_unknown_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert describe_model(str(tmp_path)).parameters is None


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_model_of_the_hub_without_a_network_is_one_line(offline: str) -> None:
    # A port that nobody listens at; in a process of its own, since the library reads this when it is imported.
    environment = os.environ | {"HF_HUB_OFFLINE": offline, "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "latentext", "models", "somebody/some-model"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("latentext: model somebody/some-model: not in the local cache, and Hugging Face cannot be")
