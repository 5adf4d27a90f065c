"""SIGKILL at instants that a seeded generator draws over the whole length of a run, and the same command again.

The walks stop a run before each of its changes; here the kernel stops it anywhere: in an import, in a forward pass, in
SQLite, in a thread. Each round is a fresh directory, killed once or several times and then finished. Two rounds or so
of each kind; LATENTEXT_KILLS=20 kills each kind so often. The seed is printed, and LATENTEXT_SEED sets another.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tests.crash.processes import call, finish, in_memory, run, start
from tests.engines.batch.made import PatientClock, paid_once, serving, tally, workspace
from tests.run.made import contents, leftovers, small_spec

import latentext
from latentext.engines.batch.remote import open_remote
from latentext.engines.batch.workflow import Conditions, run_batches
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.standin import Asked, StandIn
from latentext.spec.files import dump_spec
from latentext.spec.yaml_text import dump_yaml

KILLS = int(os.environ.get("LATENTEXT_KILLS", "3"))
SEED = int(os.environ.get("LATENTEXT_SEED", "1126"))


class Kills:
    """Rounds of kills until there were enough: `rounds` gives directories, `strike` kills processes in them."""

    def __init__(self, kind: str, folder: Path, seconds: float):
        self.made, self._folder, self._seconds = 0, folder, seconds
        self._draws = random.Random(f"{kind} {SEED}")
        print(f"{kind}: {KILLS} kills in the first {seconds:.2f} s of a run, seed {SEED}")

    def rounds(self) -> Iterator[Path]:
        for number in range(4 * KILLS):
            if self.made >= KILLS:
                return
            yield self._folder / f"round-{number}"
        pytest.fail(f"only {self.made} of {KILLS} kills met a process that was still alive")

    def strike(self, begin: Callable[[], BaseProcess], after_each: Callable[[], None] = lambda: None) -> None:
        """Begin a process and kill it, once to three times."""
        for _ in range(self._draws.randint(1, 3)):
            process = begin()
            time.sleep(self._draws.uniform(0, self._seconds))
            assert process.pid is not None
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
            if finish(process) == -signal.SIGKILL:
                self.made += 1
                after_each()


def timed(work: Callable[[], object]) -> float:
    """Seconds that an undisturbed run takes: where kills are drawn, nothing is asserted about it."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def undisturbed(folder: Path, log: Path) -> tuple[Callable[[Path], list[str]], float]:
    """Make ``quiet`` from ``spec.yaml``, caches warm; the command line for a directory, and how long a run takes."""

    def words(root: Path) -> list[str]:
        return ["run", str(folder / "spec.yaml"), "--output", str(root)]

    assert run(words(folder / "warm"), log) == 0, log.read_text()
    return words, timed(lambda: run(words(folder / "quiet"), log))


@pytest.mark.slow
def test_runs_of_the_transformers_engine_killed_at_random_instants_end_in_the_same_bytes(
    stories260k: Path, tmp_path: Path
) -> None:
    with in_memory(tmp_path) as folder:
        decoding = {"min_new_tokens": 20, "max_new_tokens": 20}
        spec = small_spec(stories260k, counts=3, decoding=decoding, rewards=["length"])
        (folder / "spec.yaml").write_text(dump_spec(spec))
        log = tmp_path / "log"
        words, seconds = undisturbed(folder, log)
        expected = contents(folder / "quiet")
        kills = Kills("transformers", folder, seconds)
        for root in kills.rounds():
            kills.strike(lambda: start(words(root), log))  # noqa: B023 - called at once
            assert run(words(root), log) == 0, log.read_text()
            assert contents(root) == expected
            assert leftovers(root) == []


@pytest.mark.slow
def test_runs_of_a_server_killed_at_random_instants_get_the_same_answers_and_pay_no_answer_twice(
    tmp_path: Path,
) -> None:
    """What the journal holds when a run is killed is never asked for again; what it does not hold yet may be."""
    with in_memory(tmp_path) as folder, StandIn(delay=0.01) as server:
        api = {"base_url": server.url, "concurrency": 4, "max_tries": 2}
        fields = {
            "name": "asked",
            "model": {"name": "gpt-4o", "engine": "openai", "api": api},
            "prompts": {"template": "Say {n}.", "grid": {"n": {"range": [0, 60]}}},
            "decoding": {"max_new_tokens": 12},
            "shard_size": 6,
        }
        (folder / "spec.yaml").write_text(dump_yaml(fields))
        log = tmp_path / "log"
        words, seconds = undisturbed(folder, log)
        expected = answers_and_records(folder / "quiet")
        kills = Kills("openai", folder, seconds)
        for root in kills.rounds():
            paid: list[tuple[int, set[str]]] = []
            began = len(server.asked)

            def note(root: Path = root, paid: list[tuple[int, set[str]]] = paid, began: int = began) -> None:
                time.sleep(0.05)  # What was on its way has come to the server.
                paid.append((len(server.asked), answered(root, server.asked[began:])))

            kills.strike(lambda: start(words(root), log), note)  # noqa: B023 - called at once
            assert run(words(root), log) == 0, log.read_text()
            assert answers_and_records(root) == expected
            for asked_then, kept in paid:
                again = {asked.headers["idempotency-key"] for asked in server.asked[asked_then:]} & kept
                assert again == set()
            assert len({asked.headers["idempotency-key"] for asked in server.asked[began:]}) == 60


def answered(root: Path, asked: list[Asked]) -> set[str]:
    """The keys of requests whose answers are on the disk: in the journal, or in records that are committed."""
    keys: set[str] = set()
    if (root / "journal.sqlite").exists():
        connection = sqlite3.connect(root / "journal.sqlite")
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
            keys = {f"{name}-1" for (name,) in connection.execute("SELECT key FROM answers")}
        connection.close()
    if list(root.glob("records/*/*.receipt.json")):
        prompts = {row["prompt"] for row in latentext.open_dataset(root).records().to_pylist()}
        keys |= {one.headers["idempotency-key"] for one in asked if one.prompt in prompts}
    return keys


def answers_and_records(root: Path) -> dict[str, str]:
    """The files of a run that asked a server, but for its name and its journal, which kills add to."""
    own = ("journal.sqlite", "dataset.id")
    return {name: digest for name, digest in contents(root).items() if not name.startswith(own)}


@pytest.mark.slow
def test_batches_killed_at_random_instants_lose_nothing_and_are_paid_once(tmp_path: Path) -> None:
    with in_memory(tmp_path) as folder, serving(hidden_lists=1) as server:
        quiet = workspace(folder / "quiet", requests=6, per_file=2)
        seconds = timed(lambda: finish(call(_batches, server.url, str(quiet.requests))))
        assert tally(quiet) == {"answered": 6}
        kills = Kills("batches", folder, seconds)
        for root in kills.rounds():
            with serving(hidden_lists=1) as own:
                place = workspace(root, requests=6, per_file=2)
                kills.strike(lambda: call(_batches, own.url, str(place.requests)))  # noqa: B023 - called at once
                assert finish(call(_batches, own.url, str(place.requests))) == 0
                assert tally(place) == {"answered": 6}
                assert paid_once(own.desk, place)
                assert own.desk.created == len({part.batch_id for part in place.ledger().parts}) == 3
                assert leftovers(root) == []


def _batches(url: str, requests: str) -> None:
    """The whole cycle of batches, from wherever it stands, on a clock that does not wait."""
    place = BatchWorkspace(Path(requests), Path(requests).with_name("outputs"))
    clock = PatientClock().clock
    with place.alone():
        run_batches(place, place.ledger(), open_remote(url, clock), clock, lambda line: None, Conditions())
