"""Imports point downwards: the floors of docs/architecture.md, held against every import of the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "latentext"

FLOORS = (
    ("errors", "request", "finish_reasons", "phases"),
    ("libraries", "word_count"),
    ("spec", "storage"),
    ("models", "sentences"),
    ("prompts", "states"),
    ("dataset",),
    ("plan", "export", "probes"),
    ("engines", "report"),
    ("rewards",),
    ("run",),
    ("studies",),
    ("cli",),
)
"""From the ground up. A room imports from lower floors only."""

ABOVE_ALL = {"__init__", "__main__", "api", "gendata", "compat"}
"""The lazy names of the package, and the doors that other tools' users know: nobody imports them."""


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path, types: bool = True) -> Iterator[Path]:
    """The files of the package that one file imports, anywhere in it; without `types` only what is really loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in checked and not types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "latentext":
            for alias in node.names:
                if alias.name != "__version__":
                    yield file_of(f"{node.module}.{alias.name}") or file_of(str(node.module)) or path
        elif isinstance(node, ast.Import):
            yield from (file_of(alias.name) or path for alias in node.names if alias.name.startswith("latentext."))


def file_of(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


SOURCES = sorted(PACKAGE.rglob("*.py"))
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}


def test_every_room_has_its_floor() -> None:
    assert {room(path) for path in SOURCES} - ABOVE_ALL == set(FLOOR)


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_a_room_imports_only_from_below(name: str) -> None:
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {other.relative_to(PACKAGE)}"
        for path in SOURCES
        if room(path) == name
        for other in imported(path)
        if room(other) != name and FLOOR.get(room(other), len(FLOORS)) >= FLOOR[name]
    ]
    assert upwards == []


def test_studies_never_import_each_other() -> None:
    studies = PACKAGE / "studies"
    across = [
        f"{path.relative_to(PACKAGE)} imports {other.relative_to(PACKAGE)}"
        for path in sorted(studies.rglob("*.py"))
        for other in imported(path)
        if other.is_relative_to(studies) and other.parent != studies and path.parent != studies
        if other.relative_to(studies).parts[0] != path.relative_to(studies).parts[0]
    ]
    assert across == []


def test_files_import_each_other_in_no_circle() -> None:
    arrows = {path: {other for other in imported(path, types=False) if other != path} for path in SOURCES}
    done: set[Path] = set()
    while ready := {path for path, others in arrows.items() if path not in done and others <= done}:
        done |= ready
    assert sorted(str(path.relative_to(PACKAGE)) for path in set(SOURCES) - done) == []
