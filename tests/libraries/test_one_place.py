"""What is used of another library beyond its documented interface is used in `latentext/libraries`, and is listed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "src" / "latentext"
PRIVATE = ("_is_stateful", "_can_compile_fullgraph", "_attn_implementation", "-wal", "http_response", "engine_core")
"""Names of other libraries that are no part of their interfaces, as texts or attributes."""


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.is_relative_to(PACKAGE / "libraries"):
            yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_modules_inside_transformers_and_vllm_are_imported_in_one_place() -> None:
    found = [
        f"{where}: {module}"
        for where, tree in _trees()
        for module in _imports(tree)
        if module.startswith(("transformers.", "openai.", "aiohttp.http", "torch._")) or module.split(".")[0] == "vllm"
    ]
    assert found == []


def _attributes(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.value, node.attr


def test_private_names_of_other_libraries_are_used_in_one_place() -> None:
    found = []
    for where, tree in _trees():
        found += [f"{where}: {name}" for _, name in _attributes(tree) if name in PRIVATE]
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        found += [f"{where}: {text!r}" for text in texts if text in PRIVATE]
    assert found == []


def test_torchs_operators_without_documentation_are_used_in_one_place() -> None:
    found = [
        f"{where}: {ast.unparse(owner)}.{name}"
        for where, tree in _trees()
        for owner, name in _attributes(tree)
        if re.match(r"torch\.(ops|_)", f"{ast.unparse(owner)}.{name}")
    ]
    assert found == []


def test_every_file_of_libraries_is_in_the_developers_documentation() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    section = page.split("## Other libraries\n")[1].split("\n## ")[0]
    files = [path.relative_to(PACKAGE / "libraries").as_posix() for path in (PACKAGE / "libraries").rglob("*.py")]
    named = [name for name in files if not name.endswith("__init__.py") and name != "changed.py"]
    assert len(named) == 7
    assert [name for name in sorted(named) if f"`{name}`" not in section] == []
