"""What is no regular file in the place of any file of a dataset: nothing hangs, nothing is a traceback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from latentext.cli.app import exit_code
from latentext.run.runner import make_dataset
from latentext.spec.files import load_spec
from latentext.storage import filesystem, lease
from latentext.storage.lease import holders

COMMANDS = {
    "status": ["status", "{d}"],
    "show": ["show", "{d}"],
    "verify": ["verify", "{d}"],
    "export jsonl": ["export", "{d}", "{t}/e.jsonl", "--to", "jsonl"],
    "export npy": ["export", "{d}", "{t}/npy", "--to", "npy", "--keep-truncated"],
    "report": ["report", "{d}"],
    "probe": ["probe", "{d}", "--twins", "0", "--target", "total"],
    "probe again": ["probe", "{d}", "--probe", "{d}/probes/total-ridge/final_norm"],
    "align weigh": ["align", "weigh", "{d}", "--value_list=length", "--lam_list=0.1"],
    "align report": ["align", "report", "{d}"],
    "merge": ["merge", "{d}", "-o", "{t}/merged"],
    "capture": ["capture", "{d}", "--sites", "embed"],
    "score": ["score", "{d}", "--reward", "{{name: polite, words: [please]}}"],
    "run": ["run", "{t}/own.yaml", "--output", "{d}"],
}

HANGS_AFTER_SECONDS = 120
EVERYWHERE = os.environ.get("LATENTEXT_CRASH_POINTS") == "all"


@pytest.fixture(autouse=True)
def _unreadable_leases_are_soon_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that says nothing is watched for fifteen seconds, by every command that writes."""
    monkeypatch.setattr(lease, "_TOUCH_SECONDS", 0.1)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(path.parent)  # A socket's path holds 108 bytes.
        listening.bind(path.name)
        os.chdir(before)


def endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def folder(path: Path) -> None:
    path.mkdir()


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 << 30)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


KINDS: tuple[Callable[[Path], None], ...] = (fifo, a_socket, endless_device, terminal, folder, huge, circle)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with every kind of file: an input that was unpacked, states, scores, a probe, a lease."""
    place = tmp_path_factory.mktemp("base")
    import gzip

    rows = "".join(f'{{"q": "Say {n} words."}}\n' for n in range(12))
    (place / "rows.jsonl.gz").write_bytes(gzip.compress(rows.encode(), mtime=0))
    (place / "own.yaml").write_text(
        "model: {name: tiny, threads: 1}\nprompts: {file: rows.jsonl.gz, template: '{q}'}\n"
        "decoding: {temperature: 1, max_new_tokens: 8, n: 2}\nstates: {sites: [final_norm]}\n"
        "rewards: [length, diversity]\nshard_size: 6\n"
    )
    from latentext.cli.options import spec_from

    make_dataset(spec_from(str(place / "own.yaml")), place / "d")
    assert exit_code(["probe", str(place / "d"), "--twins", "0", "--target", "total"]) == 0
    (place / "d/.leases").mkdir(exist_ok=True)
    (place / "d/.leases/plan.json").write_text("{}")
    os.utime(place / "d/.leases/plan.json", (0, 0))
    return place


def places(root: Path) -> list[str]:
    """Files and folders of the dataset; one shard stands for the others."""
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if not p.name.startswith("00001"))


def put(kind: Callable[[Path], None], path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    kind(path)


@contextmanager
def not_for_ever(what: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"hangs: {what}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_AFTER_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_command(command: str, name: str, kind: Callable[[Path], None], base: Path, place: Path) -> int:
    shutil.copytree(base, place, symlinks=True)
    put(kind, place / "d" / name)
    words = [word.format(d=place / "d", t=place) for word in COMMANDS[command]]
    with not_for_ever(f"{command}, {kind.__name__} as {name}"):
        return exit_code(words)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_command_waits_for_what_is_no_file(kind: Callable[[Path], None], base: Path, tmp_path: Path) -> None:
    """Each file meets the commands in turn, so that over all kinds every file meets several commands and every command
    every sort of file. With LATENTEXT_CRASH_POINTS=all each meets each."""
    commands = list(COMMANDS)
    for number, name in enumerate(places(base / "d")):
        first = 5 * number + 2 * KINDS.index(kind)
        for step in range(len(commands) if EVERYWHERE else 1):
            command = commands[(first + step) % len(commands)]
            place = tmp_path / f"{number}-{step}"
            assert run_command(command, name, kind, base, place) in (0, 1, 2), (command, name)
            shutil.rmtree(place)


@pytest.mark.parametrize("name", ["metadata.json", "status.json", "plan/plan.json", "spec.yaml", ".leases/plan.json"])
def test_status_says_in_one_line_what_is_no_file(
    name: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_command("status", name, fifo, base, tmp_path / "0")
    said = capsys.readouterr()
    nothing_depends_on_it = name in ("status.json", ".leases/plan.json")
    assert code == (0 if nothing_depends_on_it else 1)
    assert nothing_depends_on_it or said.err.count("\n") == 1
    assert nothing_depends_on_it or "cannot be read: not a regular file" in said.err


@pytest.mark.parametrize(
    "content",
    [
        '{"spend": {"answers": "12", "cost": "x"}}',
        '{"spend": {"answers": 1.5, "prompt_tokens": NaN, "cached_tokens": 0, "completion_tokens": 1, "cost": 1e999}}',
        '{"spend": {"answers": 1e400}}',
        '{"spend": {"answers": ' + "9" * 4000 + "}}",
        '{"spend": [1, 2]}',
        "[" * 100_000,
        '{"a":' * 50_000,
        "",
        '{"spend": {"answers": 3, "prompt_tokens": {}, "cached_tokens": [], "completion_tokens": null}}',
    ],
)
def test_status_json_of_any_content_costs_nothing(
    content: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(base / "d", tmp_path / "d")
    (tmp_path / "d/status.json").write_text(content)
    assert exit_code(["status", str(tmp_path / "d")]) == 0
    assert capsys.readouterr().out.endswith("complete\n")


LEASE = {"host": "elsewhere", "process": 4242, "started": "1", "since": 1.7e9, "machine": "0123abcd"}


@pytest.mark.parametrize("field", LEASE)
@pytest.mark.parametrize("value", ["nan", float("nan"), float("inf"), 1e300, -1, 1.5, 10**400, None, [], {}, True])
def test_a_lease_of_any_content_is_no_traceback(
    field: str, value: object, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    shutil.copytree(base / "d", tmp_path / "d")
    (tmp_path / "d/.leases/plan.json").write_text(json.dumps({**LEASE, field: value}))
    assert exit_code(["status", str(tmp_path / "d")]) == 0
    holders(tmp_path / "d")


@pytest.mark.parametrize("counts", ["many", [1], {"planned": "8"}, {"planned": float("nan")}, {"planned": 10**30}])
def test_counts_that_are_none_are_named_by_status(
    counts: object, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    shutil.copytree(base / "d", tmp_path / "d")
    path = tmp_path / "d/metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"counts": counts}))
    assert exit_code(["status", str(tmp_path / "d")]) == 1
    assert "metadata.json: damaged" in capsys.readouterr().err


def test_a_pipe_that_takes_a_files_name_between_the_look_and_the_opening_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metadata.json"
    path.write_text("{}")
    opened = os.open

    def exchanged(name: Path, *arguments: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return opened(name, *arguments)

    monkeypatch.setattr(filesystem.os, "open", exchanged)
    with not_for_ever("open_regular"), pytest.raises(OSError, match="not a regular file"):
        filesystem.read_bytes(path)


def test_a_file_that_grows_while_it_is_read_is_read_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"x" * 1000)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 4096)

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        with pytest.raises(OSError, match="larger than"):
            for _ in range(100_000):
                filesystem.read_bytes(path, 1 << 16)
    finally:
        stop.set()
        growing.join()


def test_a_fifo_as_a_users_spec_or_recipe_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "spec.yaml")
    with not_for_ever("run"):
        assert exit_code(["run", str(tmp_path / "spec.yaml")]) == 2
    assert "no such file or recipe" in capsys.readouterr().err
    assert load_spec({"prompts": {"list": ["a"]}}).name == "dataset"
