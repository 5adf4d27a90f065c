"""The notebook of value-aligned sampling, executed from first to last by a Jupyter kernel on a small bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentext.run.runner import make_dataset
from latentext.spec.files import load_spec
from latentext.studies.catalogue import recipe_folder

NOTEBOOK = Path(__file__).resolve().parents[3] / "notebooks" / "align" / "reviews.ipynb"


def shown(cell: Any) -> dict[str, Any]:
    """The value of a cell's last line, by MIME type."""
    return {
        kind: value
        for output in cell["outputs"]
        if output["output_type"] == "execute_result"
        for kind, value in output["data"].items()
    }


@pytest.mark.slow
def test_it_runs_from_first_to_last_and_every_picture_is_drawn(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="the extra `notebooks` is not installed")
    client = pytest.importorskip("nbclient", reason="the extra `notebooks` is not installed")
    changes = ["prompts.limit=8", "decoding.n=8", "decoding.max_new_tokens=16", "model.threads=1"]
    make_dataset(load_spec(recipe_folder() / "align" / "reviews.yaml", changes), tmp_path / "data" / "reviews")
    folder = tmp_path / "notebooks" / "align"
    folder.mkdir(parents=True)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    where = {"metadata": {"path": str(folder)}}
    client.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    first, *cells, last = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert shown(first)["text/plain"] == "(8, 8, ('sentiment', 'length', 'diversity'))"
    pictures = [cell for cell in cells if "print(" not in cell.source or cell.source.endswith("picture")]
    assert len(pictures) == 6
    for cell in pictures:
        assert "image/png" in shown(cell), cell.source
    assert shown(last)["text/plain"].startswith("(8,")
