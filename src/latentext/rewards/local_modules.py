"""The files that a reward's own file imports, as far as they are the user's own.

A score is reused wherever its identity is the same, so the identity has to change with every file that can change the
number. Which files those are is read from the import statements, also those inside functions, without importing
anything. Packages that were installed and Python's own modules are passed over: versions stand for the former.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from latentext.errors import SpecError

_MOST_FILES = 200
_PYTHONS_OWN = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_INSTALLED_IN = {"site-packages", "dist-packages"}
_OURS = Path(__file__).resolve().parents[1]


def local_imports(file: Path, package: str = "") -> dict[str, Path]:
    """The Python files that `file` imports, directly or by way of others, by the names of their modules.

    Args:
        package: the package that the file's relative imports begin at; empty for a file that is in none.

    Raises:
        SpecError: a file is no Python, or there are more than 200.
    """
    start = file.resolve()
    found: dict[str, Path] = {}
    waiting = [(start, package)]
    while waiting:
        path, inside = waiting.pop()
        for name in _imported_names(path, inside):
            for module, place, parent in _files_of(name):
                if module not in found and place != start:
                    found[module] = place
                    waiting.append((place, parent))
        if len(found) > _MOST_FILES:
            raise SpecError(
                f"imports more than {_MOST_FILES} local files",
                where=f"reward {file}",
                remedy="give the reward a version, which then stands for them: @reward(name, version=...)",
            )
    return dict(sorted(found.items()))


def _imported_names(path: Path, package: str) -> Iterator[str]:
    """The modules that a file's import statements name, absolute; of ``from a import b`` both a and a.b."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, OSError, RecursionError) as error:
        raise SpecError(
            f"cannot be read as Python: {error}", where=str(path), remedy="give the reward a version"
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                module = ".".join(filter(None, (*parents, module)))
            if module:
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)


def _files_of(name: str) -> Iterator[tuple[str, Path, str]]:
    """The local files that importing a module runs, the packages around it first: module, file, package it is in."""
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names:
        return
    places: list[str] | None = None
    for depth in range(1, len(parts) + 1):
        dotted = ".".join(parts[:depth])
        if (spec := PathFinder.find_spec(dotted, places)) is None:
            return
        is_package = spec.submodule_search_locations is not None
        places = list(spec.submodule_search_locations or ())
        if spec.origin is not None and _is_local(path := Path(spec.origin).resolve()):
            yield dotted, path, dotted if is_package else ".".join(parts[: depth - 1])


def _is_local(path: Path) -> bool:
    installed = any(path.is_relative_to(place) for place in _PYTHONS_OWN) or _INSTALLED_IN & set(path.parts)
    return path.suffix == ".py" and not installed and not path.is_relative_to(_OURS)
