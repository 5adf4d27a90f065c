"""Checking a dataset without a model: that every file is what its receipt says, and that the parts fit each other.

A reader trusts sizes and times, because it must be quick; here every byte is read. Then rows are held against each
other: states against the token ids that their texts consist of, counts against rows, views against receipts. What
only a model can tell (two sites exchanged, a norm left out) is the business of a re-computation of some states.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from latentext.dataset import layout
from latentext.dataset.documents import read_json, read_spec
from latentext.dataset.receipts import Distrust, Receipt, check_shard, sha256_of
from latentext.dataset.stages import AnyStage, ScoresStage, StatesStage, read_stage
from latentext.dataset.verify_rows import Finding, RowChecks
from latentext.dataset.views import derive_views
from latentext.errors import DatasetError

_DECLARED: dict[str, type[AnyStage]] = {"scores": ScoresStage, "states": StatesStage}


def verify_files(
    directory: str | Path,
    *,
    bos_token_id: int | None = None,
    bos_required: bool = False,
    held: Collection[str] = (),
) -> list[Finding]:
    """Check every file of a dataset, and the rows in them against each other.

    Args:
        directory: the dataset.
        bos_token_id: id of the tokenizer's BOS, where it has one: no prompt may begin with two.
        bos_required: whether the tokenizer would add it: every prompt must begin with one.
        held: the leases of runs that are at work in the directory, such as ``records/s0000-0000/00003``. What they are
            writing, and the views that are written when a run ends, are left out.

    Returns:
        What is wrong, file by file; nothing when all is well.
    """
    root = Path(directory)
    findings = [*_strays(root), *_stages(root, RowChecks(root, bos_token_id, bos_required), held)]
    if held:
        return findings
    findings += _documents(root)
    # Views are derived from all the rest, so while something is wrong there they say nothing of their own.
    return findings or list(_views(root))


def _strays(root: Path) -> Iterator[Finding]:
    """Links that lead nowhere or back into the dataset, what is neither file nor folder, and files in stage folders
    that nothing describes."""
    for folder, folder_names, file_names in os.walk(root, followlinks=False):
        folder_names.sort()
        for name in sorted([*folder_names, *file_names]):
            path = Path(folder, name)
            if (what := _irregular(root, path)) is not None:
                yield Finding(_relative(root, path), what)
        folder_names[:] = [name for name in folder_names if not name.startswith(".")]
    for kind in layout.KINDS:
        if (root / kind).is_dir():
            known = {root / stage for stage in layout.list_stages(root, kind)}
            for path in sorted((root / kind).iterdir()):
                if path not in known and not path.is_symlink() and not path.name.startswith("."):
                    yield Finding(_relative(root, path), "not a part of the dataset")


def _irregular(root: Path, path: Path) -> str | None:
    """What keeps a file or folder from being read, in words."""
    if path.is_symlink() and not path.exists():
        return "a symbolic link that leads nowhere"
    if path.is_symlink() and not layout.is_followed(root, path):
        return "a symbolic link back into the dataset, which is passed over"
    return None if path.is_file() or path.is_dir() else "neither a regular file nor a folder"


def _stages(root: Path, rows: RowChecks, held: Collection[str]) -> Iterator[Finding]:
    for stage in layout.list_stages(root):
        described = {layout.STAGE} if stage.split("/")[0] in _DECLARED else set()
        yield from _declaration(root, stage)
        finished = [n for n in layout.list_shards(root, stage) if f"{stage}/{n:05d}" not in held]
        for number in finished:
            described.add(layout.receipt_name(number))
            found = check_shard(root, stage, number)
            if isinstance(found, Distrust):
                # A damaged receipt describes nothing that could be checked, but its files are not strays either.
                described |= {p.name for p in (root / stage).iterdir() if layout.shard_of(p.name) == number}
                yield Finding(_relative(root, found.path), found.why)
            elif found is not None:
                described |= {file.name for file in found.files}
                damaged = list(_hashes(root, found))
                yield from damaged or rows.check(found)
        for path in sorted((root / stage).iterdir()):
            if held and layout.shard_of(path.name) not in (None, *finished):
                continue  # The data of a shard comes before its receipt.
            if path.name not in described and not path.is_symlink() and not path.name.startswith("."):
                yield Finding(_relative(root, path), "no receipt describes it")
    yield from rows.check_keys()


def _hashes(root: Path, receipt: Receipt) -> Iterator[Finding]:
    for file in receipt.files:
        if sha256_of(root / receipt.stage / file.name) != file.sha256:
            yield Finding(f"{receipt.stage}/{file.name}", "its content does not fit the sha256 in its receipt")


def _declaration(root: Path, stage: str) -> Iterator[Finding]:
    model = _DECLARED.get(stage.split("/")[0])
    # An empty folder was left by a run that was killed before it said what it would hold.
    if model is not None and any((root / stage).iterdir()):
        try:
            read_stage(root, stage, model)
        except DatasetError as error:
            yield Finding(f"{stage}/{layout.STAGE}", error.what)


def _documents(root: Path) -> Iterator[Finding]:
    """What stands beside the data is what it was when metadata.json was written, and can be read."""
    try:
        metadata = read_json(root / layout.METADATA)
        if not metadata:
            yield Finding(
                layout.METADATA, "missing or empty: it is written when a run ends; run the same command again"
            )
        recorded = metadata.get("sha256")
        recorded = recorded if isinstance(recorded, dict) else {}
        for name in dict.fromkeys((layout.SPEC, layout.PROVENANCE, *recorded)):
            if metadata and (name not in recorded or _sha256(root / name) != recorded[name]):
                yield Finding(name, f"not the file whose sha256 is in {layout.METADATA}")
            elif name == layout.SPEC:
                read_spec(root)
            elif name == layout.PROVENANCE:
                read_json(root / name)
    except DatasetError as error:
        yield Finding(_relative(root, Path(error.where or root)), error.what)


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


def _views(root: Path) -> Iterator[Finding]:
    """The views say what the receipts say; metadata.json holds the hashes of spec and provenance."""
    metadata = read_json(root / layout.METADATA)
    try:
        requests, licence = int(metadata["counts"]["requests"]), metadata["licence"]
    except (KeyError, TypeError, ValueError, OverflowError):
        yield Finding(layout.METADATA, "damaged: it lacks counts or licence")
        return
    for name, content in derive_views(root, read_spec(root), requests=requests, licence=licence).items():
        derived = hashlib.sha256()
        for piece in content:
            derived.update(piece)
        if _sha256(root / name) != derived.hexdigest():
            yield Finding(name, "not what the receipts, the spec and the provenance say; run the same command again")


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
