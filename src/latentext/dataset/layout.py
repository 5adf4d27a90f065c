"""Where everything lies in a dataset directory: names and nothing but names.

    records/s0000-0031/00000.parquet       00000.receipt.json
    scores/<name>/00000.parquet            …
    states/<capture>/00000-000.safetensors …            stage.json

A *stage* is named by its folder, relative to the directory (``"states/final_norm"``). Names that do not fit these
patterns exactly are not ours: listings pass over them, so that a stray copy or a temporary file never becomes data.

A folder of stages, a stage or a file may be moved to another disk and linked back: a symbolic link that leads out of
the directory counts as what it leads to, for readers and for writers. One that leads back into the directory would
give the same data a second name and is passed over; one of a folder that leads nowhere, as when a disk is not mounted,
is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from latentext.errors import DatasetError

FORMAT_VERSION = 1
"""Version of the directory's format; a directory with a higher one is refused."""

SPEC = "spec.yaml"
PROVENANCE = "provenance.json"
METADATA = "metadata.json"
FAILURES = "failures.jsonl"
README = "README.md"
STAGE = "stage.json"
PLAN = "plan"

KINDS = ("records", "scores", "states")
"""The kinds of stages, in the order in which they can depend on each other."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
# Numbers are bounded: a longer one is no shard of anybody, and Python refuses to read one of 4,300 digits.
_SAMPLES = re.compile(r"s([0-9]{4}|[1-9][0-9]{4,8})-([0-9]{4}|[1-9][0-9]{4,8})")
_SHARD = r"([0-9]{5}|[1-9][0-9]{5,17})"
_RECEIPT_FILE = re.compile(rf"{_SHARD}\.receipt\.json")
_DATA_FILE = re.compile(rf"{_SHARD}(?:\.parquet|-([0-9]{{3}}|[1-9][0-9]{{3,17}})\.safetensors)")


def newer_version(version: str) -> bool:
    """Whether this text in a file's header is a later version of the format.

    Example:
        >>> newer_version("1"), newer_version("2"), newer_version("²")
        (False, True, False)
    """
    return version.isascii() and version.isdigit() and (len(version) > 9 or int(version) > FORMAT_VERSION)


def records_folder(samples: range) -> str:
    """Folder of the records that hold these sample indices.

    Example:
        >>> records_folder(range(0, 32))
        'records/s0000-0031'
    """
    if samples.step != 1 or samples.start < 0 or not samples:
        raise ValueError(f"sample indices must be consecutive and not empty, not {samples}")
    return f"records/s{samples.start:04d}-{samples.stop - 1:04d}"


def samples_of(records_folder: str) -> range:
    """The sample indices that a records folder holds.

    Example:
        >>> samples_of("records/s0000-0031")
        range(0, 32)
    """
    match = _SAMPLES.fullmatch(records_folder.removeprefix("records/"))
    if match is None:
        raise ValueError(f"not a records folder: {records_folder!r}")
    return range(int(match[1]), int(match[2]) + 1)


def scores_folder(name: str) -> str:
    """Folder of a reward's scores; `name` is the reward's name and 8 hex digits of what decides it."""
    return f"scores/{_checked(name)}"


def states_folder(capture_name: str) -> str:
    """Folder of a capture's hidden states."""
    return f"states/{_checked(capture_name)}"


def receipt_name(shard_number: int) -> str:
    """File name of a shard's receipt: ``00000.receipt.json``."""
    return f"{shard_number:05d}.receipt.json"


def table_name(shard_number: int) -> str:
    """File name of a shard's rows: ``00000.parquet``."""
    return f"{shard_number:05d}.parquet"


def part_name(shard_number: int, part_number: int) -> str:
    """File name of one part of a shard's states: ``00000-000.safetensors``."""
    return f"{shard_number:05d}-{part_number:03d}.safetensors"


def shard_of(file_name: str) -> int | None:
    """The shard that a receipt or data file belongs to, or None for any other name.

    Example:
        >>> shard_of("00012-003.safetensors"), shard_of("00012.receipt.json"), shard_of("copy of 00012.parquet")
        (12, 12, None)
    """
    match = _RECEIPT_FILE.fullmatch(file_name) or _DATA_FILE.fullmatch(file_name)
    return int(match[1]) if match else None


def is_data_file(file_name: str) -> bool:
    """Whether this is the name of a file of rows."""
    return _DATA_FILE.fullmatch(file_name) is not None


def files_beside_data(root: Path) -> list[str]:
    """The spec, the provenance and the files of the plan that are there: what no receipt speaks of."""
    plan = [f"{PLAN}/{name}" for name in sorted(_file_names(root, PLAN)) if not name.startswith(".")]
    return [name for name in (SPEC, PROVENANCE, *plan) if (root / name).is_file()]


def is_stage(stage: str) -> bool:
    """Whether this is a stage's folder, relative to the directory; anything that leads out of it is not.

    Example:
        >>> is_stage("states/final_norm"), is_stage("states/../../home")
        (True, False)
    """
    kind, _, name = stage.partition("/")
    return kind in KINDS and bool((_SAMPLES if kind == "records" else _NAME).fullmatch(name))


def list_stages(root: Path, kind: str | None = None) -> list[str]:
    """The stages present in a directory, as relative folder names; records in the order of their samples.

    Raises:
        DatasetError: one of these folders is a link to a folder that is not there.
    """
    kinds = KINDS if kind is None else (kind,)
    stages = [f"{one_kind}/{name}" for one_kind in kinds for name in _folder_names(root, one_kind)]
    return sorted(filter(is_stage, stages), key=_stage_order)


def list_shards(root: Path, stage: str) -> list[int]:
    """Numbers of the shards that have a receipt, ascending; whether it can be trusted is not looked at."""
    matches = map(_RECEIPT_FILE.fullmatch, _file_names(root, stage))
    return sorted(int(match[1]) for match in matches if match)


def linked_folders(root: Path) -> list[Path]:
    """The folders of stages, and the stages, that lie elsewhere and are linked."""
    folders = (root / kind for kind in KINDS)
    stages = (root / stage for stage in list_stages(root))
    return [folder for folder in (*folders, *stages) if folder.is_symlink() and is_followed(root, folder)]


def is_followed(root: Path, path: Path) -> bool:
    """Whether a file or folder counts: all but links that lead back into the directory."""
    if not path.is_symlink():
        return True
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # Links in a circle; Python 3.13 says OSError.
        return False


def _folder_names(root: Path, folder: str) -> list[str]:
    names = []
    for entry in _entries(root, folder):
        if entry.is_symlink() and is_stage(f"{folder}/{entry.name}") and not Path(entry.path).exists():
            raise _leads_nowhere(Path(entry.path))
        if entry.is_dir():
            names.append(entry.name)
    return names


def _file_names(root: Path, folder: str) -> list[str]:
    return [entry.name for entry in _entries(root, folder) if entry.is_file()]


def _entries(root: Path, folder: str) -> Iterator[os.DirEntry[str]]:
    path = root / folder
    if path.is_symlink() and not path.exists():
        raise _leads_nowhere(path)
    if path.is_dir() and is_followed(root, path):
        with os.scandir(path) as entries:
            yield from (entry for entry in entries if not entry.is_symlink() or is_followed(root, Path(entry.path)))


def _leads_nowhere(path: Path) -> DatasetError:
    what = f"a symbolic link to {path.readlink()}, which is not there"
    return DatasetError(what, where=str(path), remedy="mount that disk, or remove the link")


def _stage_order(stage: str) -> tuple[int, int, str]:
    kind, name = stage.split("/", 1)
    return KINDS.index(kind), samples_of(stage).start if kind == "records" else 0, name


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a folder: use letters, digits and _ . + -, beginning with a letter or digit"
        )
    return name
