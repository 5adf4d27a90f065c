"""JSON files that know their own hash.

Receipts and stage files decide what is computed again, so a flipped bit in one must never pass for a statement. Such a
file is canonical JSON (sorted keys, no spaces, UTF-8, one newline at the end) in which the field `sha256` holds the
hash of the canonical JSON of all other fields: any change of any byte is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentext.dataset.layout import FORMAT_VERSION
from latentext.errors import DatasetError
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes

REMEDY = "run the same command again to rebuild it"


def canonical_json(value: Any) -> bytes:
    """The one way in which latentext writes a JSON value: equal values give equal bytes.

    Example:
        >>> canonical_json({"b": 1, "a": [1.5, "é"]}).decode()
        '{"a":[1.5,"é"],"b":1}\\n'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def seal(fields: Mapping[str, Any]) -> str:
    """The hash that stands in a sealed file beside these fields."""
    return hashlib.sha256(canonical_json({k: v for k, v in fields.items() if k != "sha256"})).hexdigest()


def fits_its_seal(fields: Mapping[str, Any]) -> bool:
    """Whether these are the fields that were sealed, however they were laid out; earlier versions sealed less, so a
    file without a seal passes.

    Example:
        >>> fits_its_seal({"a": 1, "sha256": seal({"a": 1})}), fits_its_seal({"a": 2, "sha256": seal({"a": 1})})
        (True, False)
    """
    try:
        return "sha256" not in fields or fields["sha256"] == seal(fields)
    except (ValueError, RecursionError):  # NaN, half a surrogate pair, a thousand brackets: nothing that was sealed.
        return False


def write_sealed(path: Path, fields: Mapping[str, Any]) -> None:
    """Write `fields` and their hash to `path`, atomically."""
    write_bytes(path, canonical_json({**fields, "sha256": seal(fields)}))


def write_sealed_for_people(path: Path, fields: Mapping[str, Any]) -> None:
    """The same over many lines, for files that people read: `fits_its_seal` checks it, and `read_sealed` cannot."""
    text = json.dumps({**fields, "sha256": seal(fields)}, indent=2, sort_keys=True)
    write_bytes(path, text.encode() + b"\n")


def read_sealed(path: Path, *, remedy: str = REMEDY) -> dict[str, Any]:
    """Read a sealed file back, its hash checked; `remedy` is what to do when it is damaged.

    Raises:
        DatasetError: the file is missing, truncated or changed, or was made by a newer version of the format.
    """
    try:
        data = filesystem.read_bytes(path, filesystem.RECEIPT_BYTES)
    except OSError as error:
        raise DatasetError(f"cannot read: {error.strerror or error}", where=str(path)) from error
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:  # Thousands of brackets overflow the parser's stack.
        raise DatasetError("truncated or damaged", where=str(path), remedy=remedy) from error
    if not isinstance(fields, dict):
        raise DatasetError("damaged: not a JSON object", where=str(path), remedy=remedy)
    version = fields.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise DatasetError(
            f"written in format version {version}, this latentext reads up to {FORMAT_VERSION}",
            where=str(path),
            remedy="update latentext",
        )
    if not _fits_its_hash(data, fields):
        raise DatasetError("damaged: its content does not fit its own hash", where=str(path), remedy=remedy)
    return fields


def _fits_its_hash(data: bytes, fields: dict[str, Any]) -> bool:
    """Whether `data` without its field `sha256` has that hash; cheaper than writing the JSON once more to hash it."""
    sha256 = str(fields.get("sha256"))
    field = f'"sha256":"{sha256}"'.encode("utf-8", "replace")
    comma_after = field + b"," in data  # Not where it is the last field.
    others = data.replace(field + b"," if comma_after else b"," + field, b"", 1)
    return hashlib.sha256(others).hexdigest() == sha256
