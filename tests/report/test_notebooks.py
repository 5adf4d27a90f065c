"""The notebooks, executed cell by cell on small datasets of their recipes.

Cells are plain Python, run here as Jupyter runs them: one after the other in one namespace, from the notebook's folder.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from latentext.recipes.catalogue import recipe_folder, recipe_names
from latentext.report.picture import Picture
from latentext.run.runner import make_dataset
from latentext.spec_file import load_spec

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LENGTH = sorted(name.removeprefix("length/") for name in recipe_names() if name.startswith("length/"))


def run_cell(source: str, namespace: dict[str, Any]) -> Any:
    """Execute a cell; the value of its last line, if that is an expression, is what a notebook would show."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), namespace)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


def test_there_is_one_for_every_length_dataset() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == LENGTH


@pytest.mark.slow
@pytest.mark.parametrize("name", LENGTH)
def test_each_runs_from_first_to_last_and_every_picture_is_drawn(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["prompts.limit=12", "decoding.max_new_tokens=40", "decoding.n=1", "model.threads=1"]
    make_dataset(load_spec(recipe_folder() / "length" / f"{name}.yaml", changes), tmp_path / "data" / name)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    namespace: dict[str, Any] = {}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    shown = [run_cell(source, namespace) for source in code]
    assert shown[0]["planned"] == 12
    assert all(isinstance(picture, Picture) for picture in shown[1:-1]), shown
    (rows, _), (labels,) = shown[-1]
    assert rows == labels > 0


def test_they_are_kept_without_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs") and cell.get("execution_count") is None
