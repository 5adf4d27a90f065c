"""The README's examples run as they are printed, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from latentext.studies.catalogue import recipe_names

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_python_example_runs_as_printed(tmp_path: Path) -> None:
    (example,) = blocks("python")
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    shape = re.search(r"^\((\d+), (\d+)\)$", run.stdout, flags=re.MULTILINE)
    assert shape is not None, run.stdout
    assert int(shape[1]) > 4
    assert (tmp_path / "data" / "first" / "spec.yaml").is_file()


@pytest.mark.slow
def test_the_yaml_example_runs_as_printed(tmp_path: Path) -> None:
    (example,) = blocks("yaml")
    (tmp_path / "first.yaml").write_text(example)
    commands = [
        line.split("#")[0].split() for line in README.splitlines() if re.match(r"latentext (run|show) \S+/?", line)
    ]
    assert [command[1] for command in commands] == ["run", "run", "show"]
    for command in commands:
        run = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8"
        )
        assert run.returncode == 0, run.stderr
    assert "#0" in run.stdout
    assert (tmp_path / "data" / "second" / "spec.yaml").is_file()


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))])
def test_links_lead_to_files_and_headings(page: str) -> None:
    source = REPOSITORY / page
    for target in re.findall(r"\]\(([^)\s]+)\)", source.read_text()):
        if re.match(r"https?:", target):
            continue
        path, _, heading = target.partition("#")
        file = (source.parent / path) if path else source
        assert file.exists(), f"{page} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_every_recipe_is_in_the_table() -> None:
    assert [name for name in recipe_names() if f"`{name}`" not in README] == []
