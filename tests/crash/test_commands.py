"""SIGKILL before every rename of every command that writes: the same command goes on, to the bytes of a quiet one.

Nothing is left behind, neither beside the outputs nor where the system keeps temporary files. A command that loads a
model is killed at some of its renames, the last ones among them; with LATENTEXT_CRASH_POINTS=all at every one.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.crash.commands import COMPLETE, LAMBDA, TOKENIZER, Command, files, inside, left_behind, prepare
from tests.crash.processes import call, finish, in_a_fork, in_memory

from latentext.run.progress import StatusFile
from latentext.storage import filesystem

EVERYWHERE = os.environ.get("LATENTEXT_CRASH_POINTS") == "all"
OF_A_SERVER = {
    "rehearsal/requests/refusal/batch_metadata.json",
    *(f"ck/answers/{name}" for name in ("spec.yaml", "metadata.json", "dataset.id")),
}
TAG = re.compile(rb'"tag": "latentext-[0-9]+-[0-9a-f]+"')

SUBSTITUTE = ["pairs", "substitute", "--num-scenarios", "6", TOKENIZER, "--output"]
SAMPLE = ["align", "sample", *LAMBDA[:1], "--value_list=length,diversity", "--MC_nsamples", "3", "--prompts"]
SAMPLE += ["prompts.jsonl", "--data_name", "mine", "--max_new_tokens", "5", "--save_directory"]
GENERATE = ["pairs", "generate", "--rehearse", "--num-scenarios", "12", "--output", "g.jsonl"]
CREATE = ["batch", "create", "--num-batches", "3", "--requests-per-batch", "2"]
STEM = "temp/tiny-mine_lam=1.500,-0.250_val=length,diversity"
PARTS = [[*SAMPLE, "r", "--start_index", start, "--end_index", end] for start, end in (("0", "1"), ("1", "3"))]
MERGE = ["align", "merge", f"r/{STEM}"]
NPY = ["export", "bank", "npy", "--to", "npy", "--keep-truncated"]

LIGHT = [
    Command("export npy", NPY),
    Command("export npy again", [*NPY, "--overwrite"], [NPY], ("replace", "remove_folder")),
    Command("export jsonl", ["export", "bank", "new/t.jsonl", "--to", "jsonl"]),
    Command("export parquet", ["export", "bank", "t.parquet", "--to", "parquet"]),
    Command("export tidy", ["export", "completions", "t.parquet", "--to", "tidy"]),
    Command("export ai_datasets", ["export", "completions", "original", "--to", "ai_datasets"]),
    Command("align weigh", ["align", "weigh", "bank", *LAMBDA]),
    Command("align draw", ["align", "draw", "bank", *LAMBDA, "-o", "new/d.json"]),
    Command("align draw --candidates", ["align", "draw", "bank", *LAMBDA, "--candidates", "-o", "c.jsonl"]),
    Command("align sweep", ["align", "sweep", "bank", LAMBDA[1], "--steps", "2", "--budget", "0.05", "-o", "f.csv"]),
    Command("pairs substitute", [*SUBSTITUTE, "p.jsonl", "--details"]),
    Command(
        "pairs split", ["pairs", "split", "p.parquet", "--by", "frame", "--val", "0.3"], [[*SUBSTITUTE, "p.parquet"]]
    ),
    Command("pairs validate", ["pairs", "validate", "p.jsonl", TOKENIZER], [[*SUBSTITUTE, "p.jsonl"]]),
    Command("batch create", CREATE),
    Command("batch create --add", [*CREATE, "--add"], [CREATE]),
    Command("batch create --force", [*CREATE, "--force", "--seed", "3"], [CREATE], ("replace", "remove")),
]
HEAVY = [
    Command("run --preview", ["run", "spec.yaml", "--preview", "2"], most=2),
    Command("run --dry-run", ["run", "spec.yaml", "--dry-run"], most=2),
    Command("pairs generate", [*GENERATE, "--checkpoint", "ck"], most=6),
    Command("batch local", ["batch", "local", "--model", "tiny", "--max-tokens", "4"], [CREATE], most=4),
    Command("batch run --rehearse", ["batch", "run", "--rehearse", "--target-scenarios", "9", *CREATE[2:]], most=5),
    Command("capture", ["capture", "bank", "--sites", "resid_post.0", "--pool", "mean"], most=3),
    Command("score", ["score", "bank", "--reward", "diversity"], most=3),
    Command("align original", ["align", "original", *SAMPLE[6:], "o"], most=4),
    Command("align sample", [*SAMPLE, "r"], most=5),
    Command("align merge", MERGE, PARTS),
    Command("align merge --remove-parts", [*MERGE, "--remove-parts"], PARTS, ("replace", "remove")),
    Command("represent", ["represent", "prompts.jsonl", "-o", "v", "--max-new-tokens", "5"], most=5),
    Command("represent repeats", ["represent", "prompts.jsonl", "-o", "v", "--task", "repeat", "--pooling", "none",
        "--segments", "sentences", "--max-new-tokens", "30"], most=4),
    Command("complete", [*COMPLETE, "again"], most=4),
    Command("probe", ["probe", "bank", "--twins", "0", "--site", "resid_post.1,embed", "--keep", "all"], most=4),
    Command("report", ["report", "bank"], most=3),
    Command("report of a folder", ["report", "completions", "-o", "new/page"], most=3),
    Command("align report", ["align", "report", "bank", *LAMBDA], most=3),
]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    assert finish(call(_prepare, str(folder))) == 0
    return folder


def _prepare(folder: str) -> None:
    assert in_a_fork(lambda: prepare(Path(folder))) == 0


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("commands", [LIGHT, HEAVY], ids=["light", "heavy"])
def test_a_command_killed_before_any_of_its_renames_goes_on_to_the_same_bytes(
    prepared: Path, tmp_path: Path, commands: Sequence[Command], part: int
) -> None:
    names = [command.name for command in commands[part::2]]
    with in_memory(tmp_path) as folder:
        report = folder / "report.json"
        assert finish(call(_walk, str(prepared), str(folder), names, str(report)), 3000) == 0
        found = json.loads(report.read_text())
    print(found["kills"], *found["faults"], sep="\n")
    assert found["faults"] == []
    writing = {name: kills for name, kills in found["kills"].items() if name not in ("align weigh", "pairs validate")}
    assert list(found["kills"]) == names and all(writing.values())


def _walk(prepared: str, folder: str, names: Sequence[str], report: str) -> None:
    """In one process: for each command and each kill a fork that is killed, and another that goes on."""
    import latentext.run.runner  # noqa: F401 - once here and not once in every fork

    kills, faults = {}, list[str]()
    for command in (command for command in (*LIGHT, *HEAVY) if command.name in names):
        kills[command.name], found = _kills(command, Path(prepared), Path(folder))
        faults += [f"{command.name}: {fault}" for fault in found]
    Path(report).write_text(json.dumps({"kills": kills, "faults": faults}))


def _kills(command: Command, prepared: Path, folder: Path) -> tuple[int, list[str]]:
    begun, work, count = folder / "begun", folder / "work", folder / "count"
    shutil.rmtree(begun, ignore_errors=True)
    shutil.copytree(prepared, begun)
    for words in command.before:
        if code := in_a_fork(functools.partial(_run, begun, words)):
            return 0, [f"{' '.join(words)} ended with {code}"]
    shutil.copytree(begun, work)
    try:
        if code := in_a_fork(lambda: count.write_text(str(_run(work, command.words, command.walked)))):
            return 0, [f"ended with {code}"]
        expected, total = _comparable(work), int(count.read_text())
    finally:
        shutil.rmtree(work)
    points = _chosen(total, None if EVERYWHERE else command.most)
    found = ((point, _fault(command, point, begun, work, expected)) for point in points)
    return len(points), [f"{point} of {total}: {fault}" for point, fault in found if fault]


def _chosen(total: int, most: int | None) -> list[int]:
    """All, or the first, the last two and others between."""
    if most is None or total <= most:
        return list(range(total))
    step = total / (most - 1)
    return sorted({*(int(place * step) for place in range(most - 1)), total - 1})


def _fault(command: Command, point: int, begun: Path, work: Path, expected: dict[str, bytes]) -> str | None:
    """What is wrong after a kill and the same command; None when all is well. The folder always has the same name."""
    shutil.copytree(begun, work)
    try:
        if (code := in_a_fork(lambda: _run(work, command.words, command.walked, point))) != -signal.SIGKILL:
            return f"ended with {code} instead of being killed"
        if code := in_a_fork(lambda: _run(work, command.words)):
            return f"the same command ended with {code}"
        if left := left_behind(work):
            return f"left {left}"
        found = _comparable(work)
        differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        return f"differ: {differing}" if differing else None
    finally:
        shutil.rmtree(work)


def _comparable(folder: Path) -> dict[str, bytes]:
    """Files whose bytes must be the same. SQLite lays out its pages by time, a batch has a tag of its own, and a
    stand-in another address each time."""
    found = {name: TAG.sub(b"", data) for name, data in files(folder).items()}
    return {name: data for name, data in found.items() if "journal.sqlite" not in name and name not in OF_A_SERVER}


def _run(folder: Path, words: Sequence[str], walked: Sequence[str] = (), kill_at: int | None = None) -> int:
    """Give a command; it is killed before its change to the disk with this number. Returns how many it made."""
    from latentext.cli.app import exit_code
    from latentext.run import runner

    made = 0
    # Else status.json would be written by the clock, and a slow machine would count renames that a quick one lacks.
    runner.StatusFile = functools.partial(StatusFile, every=math.inf)  # type: ignore[assignment,misc]

    def counting(change: Callable[..., object], *arguments: object) -> object:
        nonlocal made
        if made == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        made += 1
        return change(*arguments)

    for name in walked:
        setattr(filesystem, name, functools.partial(counting, getattr(filesystem, name)))
    with inside(folder):
        if code := exit_code([str(word) for word in words]):
            raise SystemExit(code)
    return made
