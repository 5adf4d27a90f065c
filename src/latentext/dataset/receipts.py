"""Receipts: a stage's shard is done if and only if its receipt says so and can be believed.

A receipt states which files a shard consists of (size and sha256 of each), which files it was computed from, how, and
what failed. It is written last, when all of them are safely on the disk, and so is the commit. It holds no time, host
or absolute path: the same work gives the same bytes.

Belief is cheap to check, because a run checks every shard when it starts. Sizes are compared always. Contents are
hashed only for a file that was modified after its receipt: data is always written before the receipt, so a later
time is the sign of a later change (or of a copied directory, where the hash then clears it). `verify` hashes all.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from latentext.dataset import layout
from latentext.dataset.sealed import REMEDY, canonical_json, read_sealed, seal
from latentext.errors import DatasetError
from latentext.request import Failure
from latentext.spec import Frozen
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes

_SHA256 = r"[0-9a-f]{64}"


class FileEntry(Frozen):
    """One data file of a shard. `name` has no folder: data lies beside its receipt."""

    name: str
    sha256: str = Field(pattern=f"^{_SHA256}$")
    size: int = Field(ge=0)
    rows: int = Field(ge=0)

    @field_validator("name")
    @classmethod
    def _is_a_data_file(cls, name: str) -> str:
        if not layout.is_data_file(name):
            raise ValueError(f"{name!r} is not the name of a data file")
        return name


class RecordedFailure(Frozen):
    """A request, or one sample of it, that gave no row, and why."""

    index: int = Field(ge=0)
    sample: int = Field(ge=0)
    reason: str
    message: str

    @classmethod
    def of(cls, failure: Failure) -> RecordedFailure:
        """The failure as a receipt keeps it; what UTF-8 cannot hold is replaced, never a reason to fail again."""
        message = failure.message.encode("utf-8", "replace").decode()
        return cls(index=failure.index, sample=failure.sample, reason=failure.reason, message=message)


class Receipt(Frozen):
    """What a shard of a stage consists of and was made from.

    Attributes:
        stage: the stage's folder, relative to the dataset directory.
        start: index of the first request of the shard; `stop` is one past the last.
        upstream: sha256 of each data file it was computed from, by path relative to the directory, with ``/``.
        how: what decided the result beside the inputs (settings, a halved batch, ...): JSON values.
        counts: whole numbers that add up over shards.
        sha256: hash of the canonical JSON of all other fields.
    """

    format_version: int
    stage: str
    shard: int = Field(ge=0)
    start: int = Field(ge=0)
    stop: int = Field(ge=0)
    files: tuple[FileEntry, ...]
    upstream: dict[str, str]
    how: dict[str, Any]
    counts: dict[str, int]
    failures: tuple[RecordedFailure, ...]
    sha256: str

    @property
    def rows(self) -> int:
        """Rows in all files together."""
        return sum(file.rows for file in self.files)


@dataclass(frozen=True, slots=True)
class Distrust:
    """A receipt that cannot be believed: `path` is the file at fault, `why` a few words for the user."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def write_receipt(
    path: Path,
    *,
    stage: str,
    shard: int,
    start: int,
    stop: int,
    files: Iterable[FileEntry],
    upstream: Mapping[str, str] | None = None,
    how: Mapping[str, Any] | None = None,
    counts: Mapping[str, int] | None = None,
    failures: Iterable[Failure | RecordedFailure] = (),
) -> Receipt:
    """Commit a shard: write its receipt to `path`, after all its data files. Failures are kept in request order."""
    recorded = [f if isinstance(f, RecordedFailure) else RecordedFailure.of(f) for f in failures]
    fields = {
        "format_version": layout.FORMAT_VERSION,
        "stage": stage,
        "shard": shard,
        "start": start,
        "stop": stop,
        "files": [file.model_dump() for file in sorted(files, key=lambda file: file.name)],
        "upstream": dict(upstream or {}),
        "how": dict(how or {}),
        "counts": dict(counts or {}),
        "failures": [f.model_dump() for f in sorted(recorded, key=lambda f: (f.index, f.sample))],
    }
    receipt = Receipt.model_validate({**fields, "sha256": seal(fields)})
    write_bytes(path, canonical_json(receipt.model_dump(mode="json")))
    return receipt


def read_receipt(path: Path) -> Receipt:
    """Read a receipt, its own hash checked.

    Raises:
        DatasetError: it is missing, truncated, changed, malformed, or of a newer format.
    """
    fields = read_sealed(path)
    try:
        return Receipt.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DatasetError(f"malformed receipt: {place}: {first['msg']}", where=str(path), remedy=REMEDY) from error


def check_shard(root: Path, stage: str, shard_number: int, known: Receipt | None = None) -> Receipt | Distrust | None:
    """What is known of a shard: its receipt, why the receipt cannot be believed, or None when there is none.

    A receipt is believed when it is whole and in its place, every data file it names is a regular file of the stated
    size (and sha256, where the file was modified after the receipt), and every upstream file is still the one it was
    computed from, by what that file's own receipt says.

    Args:
        known: the receipt of an upstream stage, where it has just been read: a run checks thousands of shards before
            it starts, and most of that time is reading receipts.
    """
    path = root.joinpath(stage, layout.receipt_name(shard_number))
    folder = f"{root}/{stage}"  # Plain strings below, which are quicker.
    try:
        written = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Distrust(path, error.strerror or "cannot be read")
    if not stat.S_ISREG(written.st_mode):
        return Distrust(path, "not a plain file")
    try:
        receipt = read_receipt(path)
    except DatasetError as error:
        return Distrust(path, error.what)
    if (receipt.stage, receipt.shard) != (stage, shard_number):
        return Distrust(path, f"belongs to {receipt.stage}, shard {receipt.shard}")
    for file in receipt.files:
        why = _why_not(f"{folder}/{file.name}", file, written.st_mtime_ns)
        if why:
            return Distrust(path.with_name(file.name), why)
    for name, sha256 in receipt.upstream.items():
        if _stated_sha256(root, name, known) != sha256:
            return Distrust(path, f"computed from another {name} than the present one")
    return receipt


def committed(root: Path, stage: str, shard_number: int, known: Receipt | None = None) -> Receipt | None:
    """The receipt of a finished shard, or None when the shard must be computed (again); see `check_shard`."""
    found = check_shard(root, stage, shard_number, known)
    return found if isinstance(found, Receipt) else None


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes as they are on the disk now, in hexadecimal."""
    with filesystem.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _why_not(path: str, entry: FileEntry, receipt_written_ns: int) -> str | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (a string, as there are thousands)
        if not stat.S_ISREG(found.st_mode):
            return "not a plain file"
        if found.st_size != entry.size:
            return f"{found.st_size} bytes, its receipt says {entry.size}"
        if found.st_mtime_ns > receipt_written_ns and sha256_of(Path(path)) != entry.sha256:
            return "changed after its receipt was written"
    except OSError as error:
        return error.strerror or "cannot be read"
    return None


def _stated_sha256(root: Path, name: str, known: Receipt | None) -> str | None:
    """The hash that an upstream file has by its own receipt; None when there is no such statement."""
    stage, _, file_name = name.rpartition("/")
    shard_number = layout.shard_of(file_name)
    if shard_number is None or not layout.is_stage(stage):
        return None
    try:
        if known is None or (known.stage, known.shard) != (stage, shard_number):
            known = read_receipt(root / stage / layout.receipt_name(shard_number))
    except DatasetError:
        return None
    return next((file.sha256 for file in known.files if file.name == file_name), None)
