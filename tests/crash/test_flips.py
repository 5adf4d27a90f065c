"""A bit that flips anywhere in a finished dataset is found by verification, and a run makes the shard whole again."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from tests.run.made import contents, small_spec

from latentext.dataset.verify import verify_files
from latentext.run.runner import make_dataset
from latentext.spec import Spec

_VIEWS = {"metadata.json", "README.md", "failures.jsonl"}


@pytest.fixture(scope="module")
def spec(stories260k: Path) -> Spec:
    """Eight texts in four shards with states, scores and verdicts: every kind of file."""
    return small_spec(stories260k, rewards=["length"], check={"repetition": {}})


@pytest.fixture(scope="module")
def finished(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flips") / "data"
    make_dataset(spec, root)
    return root


@pytest.mark.slow
def test_a_flipped_bit_in_any_kind_of_file_is_found(finished: Path, tmp_path: Path) -> None:
    """Sixty flips; LATENTEXT_FLIPS=500 makes more. Each kind of file gets its share, whatever its size."""
    flips, draws = int(os.environ.get("LATENTEXT_FLIPS", "60")), random.Random(20)
    root = Path(shutil.copytree(finished, tmp_path / "data"))
    assert verify_files(root) == []
    kinds = _by_kind(root)
    assert len(kinds) >= 8
    unfound = []
    for number in range(flips):
        path = draws.choice(kinds[sorted(kinds)[number % len(kinds)]])
        sound = path.read_bytes()
        place = draws.randrange(len(sound) * 8)
        spoilt = bytearray(sound)
        spoilt[place // 8] ^= 1 << place % 8
        before = path.stat()
        path.write_bytes(spoilt)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # As a disk does it: no one is told.
        name = path.relative_to(root).as_posix()
        if not _found(root, path, name):
            unfound.append(f"{name}, bit {place}")
        path.write_bytes(sound)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert unfound == []
    assert verify_files(root) == []


@pytest.mark.slow
def test_a_run_rebuilds_exactly_the_shard_whose_file_is_cut_short(spec: Spec, finished: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "data"))
    cut = root / "records" / "s0000-0000" / "00002.parquet"
    cut.write_bytes(cut.read_bytes()[:-7])
    untouched = {path: path.stat().st_mtime_ns for path in root.glob("records/*/*") if "00002" not in path.name}
    assert any(finding.path == "records/s0000-0000/00002.parquet" for finding in verify_files(root))
    make_dataset(spec, root)
    assert contents(root) == contents(finished)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


def _by_kind(root: Path) -> dict[str, list[Path]]:
    """The files by folder and ending: a receipt of states is of another kind than one of records."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != "status.json" and path.stat().st_size:
            folder = path.relative_to(root).parts[0]
            kind = path.name if folder == path.name else f"{folder} {''.join(path.suffixes)}"
            kinds.setdefault(kind, []).append(path)
    return kinds


def _found(root: Path, path: Path, name: str) -> bool:
    from latentext.errors import LatentextError

    try:
        findings = verify_files(root)
    except LatentextError as error:  # What holds everything together is damaged: verification itself says which file.
        return path.name in str(error)
    return bool(findings) if path.name in _VIEWS else any(name in f"{f.path} {f.what}" for f in findings)
