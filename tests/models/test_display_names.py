"""A model is called by a name that says which it is, wherever a file or a page travels, and never by a whole path."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import latentext
from latentext.cli.app import exit_code
from latentext.models.display_names import model_label
from latentext.models.resolve import TINY_FOLDER
from latentext.run.provenance import read_provenance
from latentext.spec.files import load_spec
from latentext.studies.complete.grid import Grid, grid_specs

NAMES = {
    "tiny": "tiny",
    "meta-llama/Llama-3.2-1B": "meta-llama/Llama-3.2-1B",
    "/models/SmolLM2-135M-Instruct": "SmolLM2-135M-Instruct",
    "/models/SmolLM2-135M-Instruct/hf": "SmolLM2-135M-Instruct/hf",
    "/models/poet/checkpoints/checkpoint-1200": "poet/checkpoints/checkpoint-1200",
    "/mnt/x/poet/2024-01-31": "poet/2024-01-31",
    "/mnt/x/poet/final/": "poet/final",
    "/home/grace/model": "model",
    "/Users/grace/hf": "hf",
    "/root/hf": "hf",
    "~/hf": "hf",
    "/hf": "hf",
    "/scratch/hub/models--Qwen--Qwen2.5-0.5B/snapshots/060db6499f32faf8b98477b0a26969ef7d8b9987": "Qwen/Qwen2.5-0.5B",
    "../llamas/small/hf": "small/hf",
}


@pytest.mark.parametrize(("name", "label"), NAMES.items())
def test_a_folder_is_called_by_as_many_names_as_say_which_model_it_is(
    name: str, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/grace")
    assert model_label(name) == label


def test_names_of_homes_are_in_no_label() -> None:
    for home in ("/home/grace", "/Users/grace", "/root"):
        for below in ("hf", "models/hf", "runs/3/checkpoint-7/final", "x/hf"):
            label = model_label(f"{home}/{below}")
            assert "grace" not in label and "root" not in label and "home" not in label.lower()


@pytest.fixture
def poet(tmp_path: Path) -> Path:
    """A model in a folder whose last name says nothing."""
    return Path(shutil.copytree(TINY_FOLDER, tmp_path / "place" / "poet" / "hf"))


def small_run(model: Path, root: Path) -> None:
    spec = {
        "model": str(model),
        "prompts": {"template": "Say {word}.", "grid": {"word": [f"sun {k}" for k in range(12)]}},
        "decoding": {"max_new_tokens": 4},
        "states": {"sites": [2]},
    }
    latentext.make_dataset(load_spec(spec), root)


def test_cards_pages_and_exports_say_the_name_and_no_path(poet: Path, tmp_path: Path) -> None:
    root = poet.parent / "data"  # Beside the model: its path from there is ../hf.
    small_run(poet, root)
    assert "| model | `poet/hf` |" in (root / "README.md").read_text()
    assert exit_code(["report", str(root)]) == 0
    assert "poet/hf" in (root / "report" / "index.html").read_text()
    assert exit_code(["export", str(root), str(tmp_path / "npy"), "--to", "npy", "--keep-truncated"]) == 0
    assert json.loads((tmp_path / "npy" / "metadata.json").read_text())["model_name"] == "poet/hf"
    for path in (root / "README.md", root / "metadata.json", root / "provenance.json", root / "report" / "index.html"):
        assert str(tmp_path) not in path.read_text()


def test_a_dataset_that_moved_with_its_model_keeps_the_name_and_verifies(poet: Path, tmp_path: Path) -> None:
    small_run(poet, poet.parent / "data")
    moved = tmp_path / "elsewhere"
    shutil.move(poet.parent, moved)
    assert exit_code(["verify", str(moved / "data")]) == 0
    assert latentext.open_dataset(moved / "data").model_label == "poet/hf"


def test_a_name_that_says_enough_adds_nothing_to_the_provenance(tmp_path: Path) -> None:
    small_run(Path(shutil.copytree(TINY_FOLDER, tmp_path / "poet")), tmp_path / "data")
    provenance = read_provenance(tmp_path / "data")
    assert provenance is not None and "model_label" not in provenance.engine
    assert latentext.open_dataset(tmp_path / "data").model_label == "poet"


def test_a_sweep_over_two_folders_of_one_last_name_has_two_places_and_continues_an_earlier_one(
    poet: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(TINY_FOLDER, tmp_path / "place" / "clerk" / "hf"))
    sweep = Grid([str(poet), str(other)], ["mrpc"], engine="transformers", output=tmp_path / "out")
    places = [Path(str(spec.output)).relative_to(tmp_path / "out") for spec in grid_specs(sweep)]
    assert [place.parts[:2] for place in places] == [("transformers", "poet--hf"), ("transformers", "clerk--hf")]
    earlier = tmp_path / "out" / "transformers" / "hf" / places[0].name
    small_run(poet, earlier)  # As version 0.1.0 called it.
    again = [Path(str(spec.output)).relative_to(tmp_path / "out").parts[1] for spec in grid_specs(sweep)]
    assert again == ["hf", "clerk--hf"]
