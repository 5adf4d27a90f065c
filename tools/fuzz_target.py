"""One target under atheris, in a process of its own; started by ``tools/fuzz.py``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

# Our own code and the parsers in Python beneath it are measured; C extensions are not ours to fuzz.
with atheris.instrument_imports(include=["latentext", "yaml", "json", "tests.fuzz"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Hand control to libFuzzer, which ends the process."""
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    memory = "/dev/shm"
    base = Path(tempfile.mkdtemp(prefix="latentext-fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
    folder = base / "folder"

    def once(data: bytes) -> None:
        folder.mkdir()
        try:
            target(data, folder)
        finally:
            shutil.rmtree(folder)

    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
