"""What latentext uses of huggingface_hub beyond its documented interface: how files are named in its cache."""

from __future__ import annotations

import re
from pathlib import Path


def known_sha256(path: Path) -> str | None:
    """The sha256 of a file in the hub's cache, which names large files by it; None: the file has to be read.

    https://huggingface.co/docs/huggingface_hub/guides/manage-cache: names in ``blobs`` are the file's ETag, and that is
    the sha256 of its content where Git LFS or Xet keeps the file.

    Example:
        >>> known_sha256(Path("model.safetensors")) is None
        True
    """
    blob = path.resolve()
    in_cache = blob.parent.name == "blobs" and (blob.parent.parent / "snapshots").is_dir()
    return blob.name if in_cache and re.fullmatch(r"[0-9a-f]{64}", blob.name) else None
