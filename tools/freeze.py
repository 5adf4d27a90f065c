"""The versions at both ends of what `pyproject.toml` admits: constraints-newest.txt and constraints-oldest.txt.

    python tools/freeze.py environment FOLDER newest|oldest    make an empty environment
    python tools/freeze.py newest PYTHON EXTRAS TORCH          the newest release of everything, beside this torch
    python tools/freeze.py oldest PYTHON EXTRAS TORCH          direct dependencies at their lower bounds

PYTHON is the interpreter of an empty environment, in which latentext is installed as asked; what pip chose there is
written down. `make newest` and `make oldest` do both. Only these two move the files: a release elsewhere never fails
an unrelated change.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_HEADS = {
    "newest": """\
# The newest release of everything on the day when `make newest` made this file, beside a torch that has a CPU build.
# `make test-newest` installs exactly these.
""",
    "oldest": """\
# The oldest releases that pyproject.toml admits, and the newest of what they depend on, by `make oldest`; torch is the
# oldest that had a CPU build where this file was made. `make test-oldest` installs exactly these, on Python 3.11.
""",
}
_LOWER_BOUND = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def requirements(extras: str, project: str | None = None) -> list[str]:
    """What `pyproject.toml` asks for, the given extras included.

    Args:
        extras: their names with commas between.
        project: the text of a `pyproject.toml`; by default latentext's own.
    """
    document = tomllib.loads((ROOT / "pyproject.toml").read_text() if project is None else project)["project"]
    optional = document.get("optional-dependencies", {})
    return [*document["dependencies"], *(line for extra in extras.split(",") if extra for line in optional[extra])]


def lower_bounds(asked: list[str]) -> list[str]:
    """Each requirement at its lower bound; what has none, tools for development, is left to pip.

    Of two bounds for one package the higher one is met by both.

    Example:
        >>> lower_bounds(["torch>=2.6", "openai[aiohttp]>=3.52", "scipy>=1.13", "scipy>=1.14", "types-PyYAML"])
        ['openai==3.52', 'scipy==1.14', 'torch==2.6']
    """
    bounds: dict[str, str] = {}
    for match in filter(None, map(_LOWER_BOUND.match, asked)):
        name, version = match["name"], match["version"]
        bounds[name] = max(version, bounds.get(name, version), key=_order)
    return sorted(f"{name}=={version}" for name, version in bounds.items())


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def frozen(lines: Iterator[str] | list[str]) -> list[str]:
    """The pins among the lines of ``pip freeze``, without local versions, so that pip takes a CPU build where it can.

    Example:
        >>> frozen(["# Editable", "-e /home/me/latentext", "torch==2.13.0+cpu", "accelerate==1.15.0"])
        ['accelerate==1.15.0', 'torch==2.13.0']
    """
    pins = (line.strip().partition("+")[0] for line in lines if re.match(r"[\w.-]+==", line))
    return sorted((pin for pin in pins if not pin.startswith("latentext==")), key=str.lower)


def interpreter(end: str) -> str:
    """The Python for an end: this one, but 3.11 for the oldest libraries, which have no files for later ones.

    Raises:
        SystemExit: there is no Python 3.11.
    """
    if end == "newest" or sys.version_info[:2] == (3, 11):
        return sys.executable
    if (found := shutil.which("python3.11")) is None:
        raise SystemExit("the oldest libraries need Python 3.11, and there is no python3.11 here; install it")
    return found


def freeze(end: str, python: str, extras: str, torch: str) -> str:
    """Install into the environment of `python` and return the text of the file.

    Raises:
        subprocess.CalledProcessError: pip found no set of versions.
    """
    bounds = lower_bounds(requirements(extras)) if end == "oldest" else []
    asked = [line for line in bounds if not line.startswith("torch==")] + [f"torch=={torch}"]
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    # torch goes first and by itself: no other package's wishes can then move pip from a CPU build to a CUDA one.
    subprocess.run([*pip, "install", "--quiet", asked[-1]], check=True)
    subprocess.run([*pip, "install", "--quiet", *asked, "--editable", f"{ROOT}[{extras}]"], check=True)
    listed = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    return _HEADS[end] + "\n".join(frozen(listed.splitlines())) + "\n"


def main(arguments: list[str]) -> int:
    """Make an environment, or write one of the two files."""
    match arguments:
        case ["environment", folder, "newest" | "oldest" as end]:
            subprocess.run([interpreter(end), "-m", "venv", "--clear", folder], check=True)
        case ["newest" | "oldest" as end, python, extras, torch]:
            path = ROOT / f"constraints-{end}.txt"
            path.write_text(freeze(end, python, extras, torch))
            print(f"wrote {path.name}")
        case _:
            print((__doc__ or "").split("\n\n")[1])
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
