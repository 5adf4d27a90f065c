"""Environments of the peers: made once, each complete when its stamp is there, so a second run installs nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TORCH = "torch==2.13.0"
TRANSFORMERS = "transformers==5.23.0"
"""The version of our own rows. With 5.24.0 TransformerLens 4.3.0 writes wrong texts when it uses its cache."""


@dataclass(frozen=True)
class Environment:
    """What is installed, by pip's arguments, one call after the other; torch goes first and stays."""

    name: str
    calls: tuple[tuple[str, ...], ...]


ENVIRONMENTS = {
    "nnsight": Environment("nnsight", ((TORCH,), (TORCH, TRANSFORMERS, "nnsight==0.8.1"))),
    "transformer_lens": Environment("transformer_lens", ((TORCH,), (TORCH, TRANSFORMERS, "transformer-lens==4.3.0"))),
    # As the Makefile does it for our own tests: the closure stands in the file, and nothing is resolved.
    "vllm": Environment(
        "vllm",
        (
            (TORCH,),
            ("--no-deps", "--requirement", str(ROOT / "constraints-vllm.txt")),
            ("--no-deps", "--no-build-isolation", "--editable", str(ROOT)),
        ),
    ),
}


class NotInstalled(Exception):  # noqa: N818 - the row of the peer shows it
    """pip failed; the message is the end of what it said."""


def python_of(name: str | None, home: Path) -> Path:
    """The interpreter of a peer, its environment installed first where it is not; None: the one that runs this.

    Raises:
        NotInstalled: pip or venv failed. The next call tries again.
    """
    if name is None:
        return Path(sys.executable)
    folder = home / name
    python, stamp = folder / "bin" / "python", folder / ".installed"
    environment = ENVIRONMENTS[name]
    wanted = repr(environment.calls)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {name} in {folder} (once)", flush=True)
    if not python.exists():
        _call([sys.executable, "-m", "venv", str(folder)])
    for arguments in environment.calls:
        _call(
            [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-compile", *arguments]
        )
    stamp.write_text(wanted)
    return python


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise NotInstalled(f"{Path(command[0]).name} {' '.join(command[1:4])}: {last}")
