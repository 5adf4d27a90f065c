"""A bit that flips anywhere in a finished dataset is found by verification, and a run makes the shard whole again."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.test_walk import EVERYWHERE
from tests.run.made import contents, small_spec

from latentext.dataset.verify import verify_files
from latentext.errors import DatasetError, LatentextError
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


_STOPS = {"plan/plan.json", "provenance.json", "stage.json"}
"""Nothing else says what they said: a run names the file, and what to do."""


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 3] ^= 4
    path.write_bytes(spoilt)


DAMAGES = [_cut, Path.unlink, *([_halve, _empty, _flip] if EVERYWHERE else [])]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_damage_to_any_kind_of_file_is_named_and_mended_by_a_run_that_touches_no_other_shard(
    spec: Spec, finished: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    kinds = _by_kind(finished)
    assert len(kinds) >= 12
    for kind, paths in kinds.items():
        root = Path(shutil.copytree(finished, tmp_path / kind.replace(" ", "")))
        damaged = root / paths[len(paths) // 2].relative_to(finished)
        name = damaged.relative_to(root).as_posix()
        damage(damaged)
        before = _shards_beside(root, damaged)
        # Without its receipt a file is one that nothing describes: the finding names that.
        assert _found(root, damaged, name if damaged.exists() else f"{name[: -len(damaged.name)]}{damaged.name[:5]}"), (
            name
        )
        if name in _STOPS or damaged.name in _STOPS:
            may_be_planned_again = name == "plan/plan.json" and not damaged.exists()
            if not may_be_planned_again:
                with pytest.raises(DatasetError) as stopped:
                    make_dataset(spec, root)
                assert stopped.value.where == str(damaged), name
                assert stopped.value.remedy, name
                continue
        make_dataset(spec, root)
        assert contents(root) == contents(finished), name
        assert _shards_beside(root, damaged) == before, name


def _shards_beside(root: Path, damaged: Path) -> dict[Path, tuple[int, int]]:
    """Inode and time of every file of a shard, but for those of the damaged one in whatever stage."""
    number = damaged.name[:5]
    shards = [path for folder in ("records", "states", "scores") for path in root.glob(f"{folder}/*/0*")]
    seen = {path: path.stat() for path in shards if path.name[:5] != number}
    return {path: (found.st_ino, found.st_mtime_ns) for path, found in seen.items()}


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
    try:
        findings = verify_files(root)
    except LatentextError as error:  # What holds everything together is damaged: verification itself says which file.
        return path.name in str(error)
    return bool(findings) if path.name in _VIEWS else any(name in f"{f.path} {f.what}" for f in findings)
