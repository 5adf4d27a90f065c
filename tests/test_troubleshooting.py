"""Errors that point to a heading of docs/troubleshooting.md point to one that is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def named_headings() -> Iterator[tuple[str, str]]:
    """Every text in a `heading=` argument of the sources, with the line where it stands."""
    for path in sorted((REPOSITORY / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "heading":
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", part.value


def test_every_heading_that_an_error_names_is_there() -> None:
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    headings = set(re.findall(r"^## (.*)$", page, flags=re.MULTILINE))
    named = list(named_headings())
    assert len(named) > 3  # else the search has lost them
    assert [f"{place}: {heading}" for place, heading in named if heading not in headings] == []
