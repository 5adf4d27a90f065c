"""What is installed from a wheel finds everything that the checkout has: recipes, prices, word lists, templates."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as the wheel of this checkout holds it."""
    if find_spec("pip") is None:
        pytest.skip("pip is not in this environment, so no wheel can be built")
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(wheels),
        str(REPOSITORY),
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    (wheel,) = wheels.glob("latentext-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def latentext(installed: Path, place: Path, *words: str) -> str:
    """What a command of the installed package prints, run where no checkout is near."""
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "latentext", *words]
    run = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def data_files() -> list[str]:
    """Everything in the source that is not Python, as the package names it."""
    source = REPOSITORY / "src"
    return sorted(
        path.relative_to(source).as_posix()
        for path in (source / "latentext").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    )


@pytest.mark.slow
def test_a_wheel_holds_every_data_file_of_the_source(installed: Path) -> None:
    there = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert [name for name in data_files() if name not in there] == []


@pytest.mark.slow
def test_an_installed_package_is_the_one_that_runs_and_has_every_recipe(installed: Path, tmp_path: Path) -> None:
    program = "import latentext; print(latentext.__file__)"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    where = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert where.stdout.startswith(str(installed))
    listed = {line.split()[0] for line in latentext(installed, tmp_path, "recipes").splitlines()}
    checkout = REPOSITORY / "recipes"
    assert listed == {path.relative_to(checkout).with_suffix("").as_posix() for path in checkout.rglob("*.yaml")}


@pytest.mark.slow
def test_the_demo_runs_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    latentext(installed, tmp_path, "demo", "data/demo")
    assert "no faults found" in latentext(installed, tmp_path, "verify", "data/demo")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("models",), ("corpora",), ("pairs", "plan", "--model", "gpt-4o-mini"), ("schema",)],
    ids=" ".join,
)
def test_tables_and_lists_are_found_from_a_wheel(installed: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert latentext(installed, tmp_path, *words).strip()
