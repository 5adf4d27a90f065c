"""Runs over worker processes and over parts: whatever happens to a worker, the bytes are those of one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.run.echo_engine import EchoEngine
from tests.run.made import contents, leftovers, small_spec

from latentext.engines.engine import Capture, Generated
from latentext.errors import EXIT_FAILED, DatasetError, DiskFullError, SpecError
from latentext.request import Failure, Request
from latentext.run.merging import merge_parts
from latentext.run.part import RunPart, parse_part
from latentext.run.processes import ProcessWorkers
from latentext.run.runner import make_dataset
from latentext.run.spreading import make_dataset_with_workers
from latentext.spec import Decoding, Spec
from latentext.spec.files import dump_spec, load_spec


@pytest.fixture(scope="module")
def spec(stories260k: Path) -> Spec:
    """Twelve prompts in six shards; the engine is scripted, its tokenizer and weights are only described."""
    fields = {
        "model": {"name": str(stories260k), "threads": 1},
        "prompts": {
            "template": "Say {word} {count} times.",
            "grid": {"count": {"range": [0, 4]}, "word": ["a", "b", "c"]},
            "use_chat_template": False,
        },
        "shard_size": 2,
    }
    return load_spec(fields)


@pytest.fixture(scope="module")
def quiet(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run in one process makes."""
    root = tmp_path_factory.mktemp("quiet") / "data"
    make_dataset(spec, root, engine=EchoEngine())
    return root


class Fateful(EchoEngine):
    """Meets its fate at request 4, as often as `lives` says: a file counts, for every worker has its own engine."""

    def __init__(self, fate: str, count: Path, lives: int):
        super().__init__()
        self._fate, self._count, self._lives = fate, count, lives

    def generate(
        self, requests: Sequence[Request], samples: range, decoding: Decoding, seed: int, **more: Any
    ) -> Generator[Generated | Failure, None, None]:
        met = len(self._count.read_text()) if self._count.exists() else 0
        if any(request.index == 4 for request in requests) and met < self._lives:
            with self._count.open("a") as file:
                file.write("x")
            if self._fate == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self._fate == "hang":
                time.sleep(600)
            if self._fate == "full":
                raise DiskFullError("the disk is full", where="somewhere")
            raise RuntimeError("device-side assert triggered")
        capture: Capture | None = more.get("capture")
        yield from super().generate(requests, samples, decoding, seed, capture=capture, slots=more.get("slots"))


def spread(spec: Spec, root: Path, engine: Any, count: int = 2, **more: Any) -> Any:
    """Make a dataset with worker processes that use this engine."""
    from dataclasses import replace

    def start(order: Any) -> ProcessWorkers:
        return ProcessWorkers(replace(order, open_engine=engine), count)

    return make_dataset_with_workers(spec, root, start=start, threads=1, **more)


@pytest.mark.slow
def test_two_workers_make_the_bytes_of_one(spec: Spec, quiet: Path, tmp_path: Path) -> None:
    summary = spread(spec, tmp_path / "data", EchoEngine)
    assert (summary.accepted, summary.pending, summary.exit_code) == (12, 0, 0)
    assert contents(tmp_path / "data") == contents(quiet)
    assert leftovers(tmp_path / "data") == []


@pytest.mark.slow
@pytest.mark.slow
def test_two_workers_and_growth_store_several_sites_in_the_order_of_one_run(stories260k: Path, tmp_path: Path) -> None:
    """A worker reads from disk what the first process decided; so does a run that grows."""
    sites = ["final_norm", "resid_post.3", "embed", "resid_post.0"]
    (tmp_path / "spec.yaml").write_text(dump_spec(small_spec(stories260k, counts=1, states={"sites": sites})))

    def run(name: str, *options: str) -> dict[str, str]:
        words = ["run", str(tmp_path / "spec.yaml"), "--output", str(tmp_path / name), *options]
        subprocess.run([sys.executable, "-m", "latentext", *words], check=True, capture_output=True)
        return contents(tmp_path / name)

    quiet = run("quiet")
    assert run("spread", "--workers", "2") == quiet
    run("grown", "--limit", "2")
    parts = {name: digest for name, digest in run("grown").items() if name.endswith((".safetensors", ".parquet"))}
    assert parts == {name: quiet[name] for name in parts}
    assert len(parts) == 4


@pytest.mark.parametrize("fate", ["kill", "raise", "hang"])
def test_a_worker_that_is_killed_fails_or_hangs_costs_nothing_but_its_shard(
    spec: Spec, quiet: Path, tmp_path: Path, fate: str
) -> None:
    engine = partial(Fateful, fate, tmp_path / "count", 1)
    timeout = 30.0 if fate == "hang" else None
    summary = spread(spec, tmp_path / "data", engine, shard_timeout=timeout)
    assert (tmp_path / "count").read_text() == "x"
    assert (summary.accepted, summary.exit_code) == (12, 0)
    assert contents(tmp_path / "data") == contents(quiet)
    assert leftovers(tmp_path / "data") == []


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_is_passed_over_alone(spec: Spec, quiet: Path, tmp_path: Path) -> None:
    summary = spread(spec, tmp_path / "data", partial(Fateful, "kill", tmp_path / "count", 99))
    assert (tmp_path / "count").read_text() == "xxx"
    assert dict(summary.passed_over) == {("records/s0000-0000", 2): "the worker was killed by SIGKILL"}
    assert (summary.accepted, summary.pending, summary.exit_code) == (10, 2, EXIT_FAILED)
    assert make_dataset(spec, tmp_path / "data", engine=EchoEngine()).pending == 0
    assert contents(tmp_path / "data") == contents(quiet)


@pytest.mark.slow
def test_what_a_user_can_mend_ends_the_run_at_once(spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="somewhere"):
        spread(spec, tmp_path / "data", partial(Fateful, "full", tmp_path / "count", 99))
    assert leftovers(tmp_path / "data") == []
    assert make_dataset(spec, tmp_path / "data", engine=EchoEngine()).accepted == 12


def test_workers_are_refused_for_a_server(tmp_path: Path) -> None:
    remote = load_spec({"model": {"name": "m", "engine": "openai"}, "prompts": {"list": ["Hello."]}})
    with pytest.raises(SpecError, match=r"one process.*concurrency"):
        spread(remote, tmp_path / "data", EchoEngine)


def test_parts_that_were_made_apart_merge_into_the_bytes_of_one_run(spec: Spec, quiet: Path, tmp_path: Path) -> None:
    parts = []
    for number in (1, 2, 3):
        parts.append(tmp_path / f"part-{number}")
        make_dataset(spec, parts[-1], engine=EchoEngine(), part=RunPart(number, 3))
    counts = merge_parts(parts[:2], tmp_path / "merged")
    assert counts["pending"] == 4
    assert merge_parts(parts, tmp_path / "merged")["pending"] == 0
    assert contents(tmp_path / "merged") == contents(quiet)
    assert merge_parts(parts, parts[0])["pending"] == 0
    assert contents(parts[0]) == contents(quiet)


def test_parts_of_one_directory_end_in_the_bytes_of_one_run(spec: Spec, quiet: Path, tmp_path: Path) -> None:
    for number in (2, 1):
        make_dataset(spec, tmp_path / "data", engine=EchoEngine(), part=RunPart(number, 2))
    assert contents(tmp_path / "data") == contents(quiet)


def test_directories_of_different_runs_are_not_merged(spec: Spec, quiet: Path, tmp_path: Path) -> None:
    other = spec.model_copy(update={"seed": 1})
    make_dataset(other, tmp_path / "other", engine=EchoEngine())
    with pytest.raises(SpecError, match="seed differ"):
        merge_parts([quiet, tmp_path / "other"], tmp_path / "merged")
    with pytest.raises(DatasetError, match="never planned"):
        merge_parts([quiet, tmp_path], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_place_in_a_slurm_array_is_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="SLURM_ARRAY_TASK_ID is not set"):
        parse_part("slurm")
    for name, value in (("ID", "12"), ("MIN", "10"), ("COUNT", "4")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert parse_part("slurm") == RunPart(3, 4)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "18")
    with pytest.raises(SpecError, match="without gaps"):
        parse_part("slurm")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "one/two", "1", "-1/3", "1/3/5"])
def test_no_such_part_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--shards"):
        parse_part(text)
