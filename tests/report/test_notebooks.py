"""The notebooks, executed from first to last by a Jupyter kernel on small datasets of their recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from latentext.run.runner import make_dataset
from latentext.spec.files import load_spec
from latentext.studies.catalogue import recipe_folder, recipe_names

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LENGTH = sorted(name.removeprefix("length/") for name in recipe_names() if name.startswith("length/"))


def shown(cell: Any) -> dict[str, Any]:
    """The value of a cell's last line, by MIME type. Libraries may write beside it, of widgets that are not there."""
    (value,) = [output["data"] for output in cell["outputs"] if output["output_type"] == "execute_result"]
    return dict(value)


def test_there_is_one_for_every_length_dataset() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == LENGTH


@pytest.mark.slow
@pytest.mark.parametrize("name", LENGTH)
def test_each_runs_from_first_to_last_and_every_picture_is_drawn(name: str, tmp_path: Path) -> None:
    changes = ["prompts.limit=12", "decoding.max_new_tokens=40", "decoding.n=1", "model.threads=1"]
    make_dataset(load_spec(recipe_folder() / "length" / f"{name}.yaml", changes), tmp_path / "data" / name)
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    where = {"metadata": {"path": str(tmp_path / "notebooks")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    first, *pictures, last = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "'planned': 12" in shown(first)["text/plain"]
    assert len(pictures) >= 8
    for cell in pictures:
        assert "image/png" in shown(cell), cell.source
    (rows, _), (labels,) = json.loads(shown(last)["text/plain"].replace("(", "[").replace(",)", "]").replace(")", "]"))
    assert rows == labels > 0


def test_they_are_valid_and_kept_without_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            assert not cell.get("outputs") and cell.get("execution_count") is None
