"""What is installed with latentext: its licences, the hashes of its files, and the advisories against it.

    python tools/supply_chain.py licences     write docs/licences.md
    python tools/supply_chain.py hashes       write requirements-hashes.txt (asks the package index)
    python tools/supply_chain.py advisories   ask PyPI for known vulnerabilities of the pinned versions

Pins are those of constraints.txt. ``pip install --require-hashes -r requirements-hashes.txt`` installs the packages of
a plain installation and refuses a file with other bytes; hashes are of the files that pip chose on the platform that
the file names. Advisories come from PyPI's JSON API, which serves the database of the PyPA that pip-audit reads too.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS, LICENCES, HASHES = (
    ROOT / "constraints.txt",
    ROOT / "docs" / "licences.md",
    ROOT / "requirements-hashes.txt",
)
_API = "https://pypi.org/pypi/{name}/{version}/json"
_LONGEST = 60


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """The pinned versions by canonical name."""
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def licence(package: metadata.PackageMetadata) -> str:
    """What a package says of its licence: its SPDX expression, else its classifiers, else the first line it gives."""
    if expression := package.get("License-Expression"):
        return str(expression)
    named = [
        line.rsplit(" :: ", 1)[-1] for line in package.get_all("Classifier") or () if line.startswith("License ::")
    ]
    if named:
        return ", ".join(dict.fromkeys(named))
    lines = (package.get("License") or "").strip().splitlines()
    return lines[0][:_LONGEST] if lines else "not stated"


def licence_page() -> str:
    """docs/licences.md: one row a pinned package; what is not installed here keeps the row that it has."""
    known = (
        dict(re.findall(r"^\| (\S+) \| .* \| (.*) \|$", LICENCES.read_text(), re.MULTILINE))
        if LICENCES.exists()
        else {}
    )
    rows = []
    for name, version in sorted(pins().items()):
        try:
            found = licence(metadata.metadata(name))
        except metadata.PackageNotFoundError:
            found = known.get(name, "not installed where this list was made")
        rows.append(f"| {name} | {version} | {found.replace('|', '/')} |")
    head = (
        "# Licences of the dependencies\n\nAs the packages state them, of the versions in `constraints.txt`, extras and"
        " tools for development included.\nMade by `make licences`; latentext itself is under Apache-2.0.\n\n"
        "| package | version | licence |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def hash_file() -> str:
    """requirements-hashes.txt, by what pip would install here."""
    report = ROOT / "build" / "pip-report.json"
    report.parent.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--report",
        str(report),
    ]
    subprocess.run([*command, "--constraint", str(CONSTRAINTS), str(ROOT)], check=True)
    lines = [
        "# Made by `make hashes`: a plain installation with the bytes of every file; for "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version_tuple()[0]}."
        f"{platform.python_version_tuple()[1]}.",
    ]
    for item in json.loads(report.read_text())["install"]:
        package, origin = item["metadata"], item["download_info"]
        if "archive_info" in origin:  # Not latentext itself, which is a folder.
            sha256 = origin["archive_info"]["hashes"]["sha256"]
            lines.append(f"{canonical(package['name'])}=={package['version']} --hash=sha256:{sha256}")
    return "\n".join([lines[0], *sorted(lines[1:])]) + "\n"


def advisories() -> Iterator[str]:
    """A line for each advisory against a pinned version.

    Raises:
        OSError: the API cannot be reached.
    """
    for name, version in sorted(pins().items()):
        with urllib.request.urlopen(_API.format(name=name, version=version), timeout=20) as answer:
            found = json.load(answer)["vulnerabilities"]
        for advisory in found:
            if not advisory.get("withdrawn"):
                fixed = ", ".join(advisory.get("fixed_in") or ()) or "none yet"
                yield f"{name}=={version}: {advisory['id']} (fixed in: {fixed}) {advisory.get('link', '')}"


def main(wish: str) -> int:
    """Do one of the three things of this file; 1 where an advisory stands, 3 where nobody could be asked."""
    if wish == "licences":
        LICENCES.write_text(licence_page())
    elif wish == "hashes":
        HASHES.write_text(hash_file())
    elif wish == "advisories":
        try:
            found = list(advisories())
        except (OSError, ValueError, KeyError) as error:
            print(f"not checked: PyPI's JSON API cannot be asked from here ({error})")
            return 3
        print("\n".join(found) or f"no advisory against {len(pins())} pinned packages")
        return 1 if found else 0
    else:
        print("give one of: licences, hashes, advisories")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
