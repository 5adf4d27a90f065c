"""What is kept of an input file beside a plan, as it was before the file changed: until the change is accepted.

The index of an input and the note that identifies it are made again when the file is another one, and only then can be
seen whether the plan allows that. Until it does, the earlier files wait in a folder of their own: a run that is refused
puts them back, and so does the next run where one was killed before it knew.

`begun_by_first` says by which rules for prompts a dataset goes on: those of the version that began it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentext.storage import filesystem

NOTE, INDEX, UNPACKED, SEEN = "input.json", "input.index", "input.unpacked", ".input.seen"
"""The files of an input in the folder of a plan: what identifies it, where its records begin, a plain copy of a gzip
file, and what the disk said of it last."""

_FOLDER = ".before"


@contextmanager
def until_accepted(directory: Path) -> Iterator[None]:
    """Look at an input inside the ``with`` block: its files are those of before if the block raises."""
    put_back(directory)
    try:
        yield
    except BaseException:
        put_back(directory)
        raise
    let_go(directory)


def set_aside(directory: Path) -> None:
    """Move what is there of an earlier input out of the way."""
    filesystem.make_folder(directory / _FOLDER)
    for path in reversed(_kept(directory)):
        filesystem.replace(path, directory / _FOLDER / path.name)


def put_back(directory: Path) -> None:
    """Undo `set_aside`, if anything is aside; whoever is killed here can begin again."""
    if not (directory / _FOLDER).is_dir():
        return
    if aside := _kept(directory / _FOLDER):
        for path in aside:
            filesystem.replace(path, directory / path.name)
        for name in _foreign_to(directory / NOTE):
            filesystem.remove(directory / name)
    let_go(directory)


def let_go(directory: Path) -> None:
    """Remove what was aside: the plan has accepted the input as it is now."""
    filesystem.remove_folder(directory / _FOLDER)


def _kept(folder: Path) -> list[Path]:
    """The files of an input, the note that identifies it last: it stands only where all the others do."""
    names = (SEEN, INDEX, UNPACKED, NOTE)
    return [path for name in names if (path := folder / name).exists()]


def _foreign_to(note: Path) -> list[str]:
    """The files that an input with this note does not have."""
    try:
        facts = json.loads(filesystem.read_bytes(note))
        return [*([] if facts["gzip"] else [UNPACKED]), *([INDEX] if facts["format"] == "parquet" else [])]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def begun_by_first(begun_by: str | None) -> bool:
    """Whether version 0.1.0 made the first shard, by the version that a dataset names; None is a new dataset.

    Example:
        >>> begun_by_first("0.1.0"), begun_by_first("0.2.0"), begun_by_first(None)
        (True, False, False)
    """
    return begun_by is not None and begun_by.startswith("0.1.")
