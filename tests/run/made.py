"""Specs of small runs, and a dataset directory as bytes: what two runs are compared by."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from latentext.spec import Spec
from latentext.spec.files import load_spec
from latentext.storage.atomic import is_temporary

SITES = ["resid_post.1", "final_norm"]  # Not in alphabetical order: what is read back from disk is.
_NOT_DATA = {"status.json"}


def small_spec(model: Path | str, counts: int = 2, **changes: Any) -> Spec:
    """`counts` times four plain-text prompts of unequal length, ten tokens each, two requests a shard."""
    fields: dict[str, Any] = {
        "name": "small",
        "model": {"name": str(model), "threads": 1},
        "prompts": {
            "template": "Once upon a time there was a {word} with {count}",
            "grid": {"count": {"range": [0, counts]}, "word": ["cat", "little red dog", "bird", "very big tree"]},
            "use_chat_template": False,
        },
        "decoding": {"max_new_tokens": 10},
        "states": {"sites": SITES},
        "shard_size": 2,
    }
    return load_spec({**fields, **changes})


def contents(root: Path) -> dict[str, str]:
    """Every file of a dataset by its sha256, but for leases and status.json, which are of the moment."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in _NOT_DATA and ".leases" not in path.parts
    }


def leftovers(root: Path) -> list[str]:
    """Temporary files and leases that somebody left behind."""
    return [p.name for p in root.rglob("*") if is_temporary(p.name) or (p.is_file() and p.parent.name == ".leases")]


def commits(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every receipt and data file: the same as long as nobody wrote it again."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.parent.parent.name in ("records", "states") and not is_temporary(path.name):
            written = path.stat()
            found[path.relative_to(root).as_posix()] = (written.st_ino, written.st_mtime_ns)
    return found
