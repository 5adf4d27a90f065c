"""A long run with everything that goes wrong: ``python tools/soak.py``, SOAK_SECONDS (1200); ``make test-soak``.

Datasets are made one after the other by the command line, and each run is ended at random instants by SIGKILL, SIGTERM
or SIGINT; between two runs a published file is cut, loses a bit or goes missing. Then the same command runs again to
its end: the dataset must be byte for byte that of the undisturbed run, and `verify` must find nothing in it. Beside it
one process makes, reads and verifies datasets over and over: its memory and open files must stay flat. SOAK_SEED (0)
decides all chances.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

_SPEC = """\
name: soak
seed: {seed}
model: {{name: tiny, threads: 1}}
prompts: {{template: 'Print exactly {{count}} repetitions of "{{word}}".', grid: {{count: {{range: [1, 9]}}, word: [hello, world, cat]}}}}
decoding: {{temperature: 1.0, max_new_tokens: 24, n: 2}}
states: {{sites: [embed, final_norm]}}
rewards: [length]
shard_size: 4
"""  # noqa: E501
_COMPARED = ("records", "scores", "states")
_COMMAND = [sys.executable, "-m", "latentext"]
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_MOST_ENDS = 6


def main() -> int:
    """Soak, and print the figures; the exit code is 1 where a promise did not hold."""
    seconds, chance = float(os.environ.get("SOAK_SECONDS", "1200")), random.Random(os.environ.get("SOAK_SEED", "0"))
    folder = Path(tempfile.mkdtemp(prefix="latentext-soak-"))
    count: Counter[str] = Counter()
    steady_log = (folder / "steady.log").open("w+")
    steady = subprocess.Popen([sys.executable, __file__, "--steady", str(folder / "steady")], stdout=steady_log)
    faults: list[str] = []
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until and not faults:
            faults += _round(folder / f"round{count['rounds']}", count["rounds"], chance, count, until)
            count["rounds"] += 1
    finally:
        steady.kill()
        steady.wait()
    steady_log.seek(0)
    faults += _flat([tuple(map(int, line.split())) for line in steady_log if len(line.split()) == 3], count)
    steady_log.close()
    print(", ".join(f"{number} {name}" for name, number in sorted(count.items())))
    for fault in faults:
        print(f"FAULT: {fault} (kept in {folder})")
    if not faults:
        shutil.rmtree(folder)
        print("every dataset equals its undisturbed run and is verified; memory and open files are flat")
    return 1 if faults else 0


def _round(folder: Path, seed: int, chance: random.Random, count: Counter[str], until: float) -> list[str]:
    """One dataset undisturbed, one disturbed; what is wrong with the second."""
    folder.mkdir()
    spec = folder / "spec.yaml"
    spec.write_text(_SPEC.format(seed=seed))
    began = time.monotonic()
    if (code := _run(spec, folder / "quiet").wait()) != 0:
        return [f"the undisturbed run ended with {code}"]
    takes = time.monotonic() - began
    data = folder / "data"
    for _ in range(_MOST_ENDS):
        if time.monotonic() > until:
            break
        process = _run(spec, data)
        try:
            process.wait(chance.uniform(0.1 * takes, 1.1 * takes))
        except subprocess.TimeoutExpired:
            ending = chance.choice(_SIGNALS)
            process.send_signal(ending)
            count[ending.name] += 1
            process.wait(120)
        if data.exists() and chance.random() < 0.5:
            count[_harm(data, chance)] += 1
    for _ in range(3):  # A file that is harmed without a new time is found by verify, which says what to do.
        if (code := _run(spec, data).wait()) != 0:
            return [f"round {seed}: the last run ended with {code}"]
        found = subprocess.run([*_COMMAND, "verify", str(data), "--sample", "2"], stdout=subprocess.PIPE, text=True)
        if found.returncode == 0:
            break
        count["faults named by verify"] += found.stdout.count("\n")
        for line in found.stdout.splitlines():
            (data / line.split(": ")[0]).unlink(missing_ok=True)
    if found.returncode or _digest(data) != _digest(folder / "quiet"):
        return [f"round {seed}: {found.stdout or 'other bytes than the undisturbed run'}"]
    shutil.rmtree(folder)
    return []


def _run(spec: Path, data: Path) -> subprocess.Popen[bytes]:
    log = (spec.parent / "log").open("ab")
    with log:
        return subprocess.Popen([*_COMMAND, "run", str(spec), "--output", str(data)], stdout=log, stderr=log)


def _harm(data: Path, chance: random.Random) -> str:
    """Cut, change or remove one published file of data; says what."""
    files = sorted(path for kind in _COMPARED for path in (data / kind).rglob("0*") if path.is_file())
    if not files:
        return "no file to harm yet"
    path, how = chance.choice(files), chance.choice(["files cut", "bits flipped", "files removed"])
    content = bytearray(path.read_bytes())
    if how == "files removed":
        path.unlink()
    elif how == "files cut":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
    return how


def _digest(data: Path) -> dict[str, str]:
    files = [path for kind in _COMPARED for path in (data / kind).rglob("*") if path.is_file()]
    return {str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _flat(seen: list[tuple[int, ...]], count: Counter[str]) -> list[str]:
    """Whether memory (KiB) and open files of the steady process are in the last third what they were in the second."""
    count["datasets in one process"] = len(seen)
    if len(seen) < 6:
        return []
    third = len(seen) // 3
    before, after = seen[third : 2 * third], seen[-third:]
    (memory, files), (memory_after, files_after) = (
        (int(statistics.median(row[0] for row in rows)), max(row[1] for row in rows)) for rows in (before, after)
    )
    count["MiB at first"], count["MiB at last"] = memory // 1024, memory_after // 1024
    count["open files at first"], count["open files at last"] = files, files_after
    faults = [f"memory grew from {memory} to {memory_after} KiB"] if memory_after > 1.03 * memory + 8192 else []
    return faults + ([f"open files grew from {files} to {files_after}"] if files_after > files else [])


def _steady(folder: Path) -> None:
    """Make, read and verify datasets in one process for ever; after each: KiB, open files, its number."""
    from transformers.utils import logging

    import latentext
    from latentext.run.runner import make_dataset
    from latentext.run.verification import verify
    from latentext.spec.files import load_spec

    logging.disable_progress_bar()
    folder.mkdir()
    spec = folder / "spec.yaml"
    number = 0
    while True:
        spec.write_text(_SPEC.format(seed=number))
        make_dataset(load_spec(spec), folder / "data")
        data = latentext.open(folder / "data")
        assert data.records().num_rows == 48
        assert len(data.states("final_norm")[:])
        assert not verify(folder / "data", sample=2)
        del data
        shutil.rmtree(folder / "data")
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
        print(resident, len(os.listdir("/proc/self/fd")), number, flush=True)  # noqa: PTH208 - names are enough
        number += 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--steady"]:
        _steady(Path(sys.argv[2]))
    sys.exit(main())
