"""Fuzz with atheris: ``python tools/fuzz.py [TARGET …]``, FUZZ_SECONDS each (600); ``make test-fuzz`` sets it up.

Each target runs in a process of its own, since libFuzzer never returns, over the kept seeds and what earlier runs found
in build/fuzz-corpus. What it may not do: raise anything but the errors that the parsers promise, take longer than ten
seconds for one input, or hold more than 1 GB. A failing input is kept in build/fuzz-findings and is worth a seed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SEEDS, _BUILD = _ROOT / "tests" / "fuzz" / "corpus", _ROOT / "build"
_MEGABYTES, _SECONDS_EACH = 1000, 10
_NAMES = ("spec", "prompts", "batch_outputs", "answers", "states_part", "pairs", "dataset")


def main(names: list[str]) -> int:
    """Fuzz the targets one after the other; returns how many had a finding."""
    seconds = int(os.environ.get("FUZZ_SECONDS", "600"))
    print(f"{len(names)} targets, {seconds} seconds each; FUZZ_SECONDS=60 is shorter", flush=True)
    return sum(_fuzz(name, seconds) for name in names)


def _fuzz(name: str, seconds: int) -> bool:
    grown, findings = _BUILD / "fuzz-corpus" / name, _BUILD / "fuzz-findings"
    for folder in (grown, findings):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-timeout={_SECONDS_EACH}",
        "-max_len=16384",
        f"-artifact_prefix={findings}/{name}-",
        "-print_final_stats=1",
    ]
    command = [sys.executable, str(_ROOT / "tools" / "fuzz_target.py"), name, *options, str(grown), str(_SEEDS / name)]
    environment = os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}{os.pathsep}{_ROOT}"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    inputs, covered, memory = (
        (re.findall(pattern, done.stdout) or ["?"])[-1]
        for pattern in (r"number_of_executed_units: (\d+)", r"cov: (\d+)", r"peak_rss_mb: +(\d+)")
    )
    figures = f"{inputs} inputs, {covered} edges, {memory} MB at most"
    if done.returncode == 0:
        print(f"{name}: no finding in {figures}", flush=True)
        return False
    print("\n".join(done.stdout.splitlines()[-60:]))
    print(f"{name}: a FINDING after {figures}", flush=True)
    return True


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - set(_NAMES):
        sys.exit(f"no target {', '.join(sorted(unknown))}; targets are: {', '.join(_NAMES)}")
    sys.exit(1 if main(sys.argv[1:] or list(_NAMES)) else 0)
