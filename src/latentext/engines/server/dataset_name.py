"""The name under which a dataset's requests go: random, in a file of the directory, so that it moves with it.

Two datasets never share a name, however equal their specs are: not in one journal, and not when ``--fresh`` begins
again. A dataset that is moved keeps its name and finds its answers. A copy keeps it too, and is the same dataset, until
both use one journal: there the directory that was noted first, if it is still in its place, has the answers, and the
other one gets a name of its own.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from latentext.engines.server.journal import Journal
from latentext.errors import DatasetError
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes

FILE = "dataset.id"
_NAME = re.compile(r"[0-9a-f]{32}")


def is_own(journal: Path, directory: Path | None) -> bool:
    """Whether a journal lies in the dataset's own directory, so that nobody else's answers are in it."""
    return directory is None or journal.parent.resolve() == directory.resolve()


def name_of(directory: Path | None, journal: Journal) -> str:
    """The name of the dataset in a directory, made at the first call; noted in the journal with the directory.

    Args:
        directory: None for requests of no dataset, all of which have one name.

    Raises:
        DatasetError: the file that holds it is damaged.
    """
    if directory is None:
        return ""
    place, name = str(directory.resolve()), _read(directory / FILE)
    noted = dict(journal.read("SELECT name, place FROM datasets"))
    if name is None and is_own(journal.path, directory):  # The file was lost: the journal knows it too.
        name = next((known for known, where in noted.items() if where == place), None)
        name = name or (next(iter(noted)) if len(noted) == 1 else None)
    elif name is not None and not is_own(journal.path, directory) and _is_copy(name, noted.get(name), place):
        name = None
    if name is None:
        name = uuid.uuid4().hex
    if _read(directory / FILE) != name:
        filesystem.make_folder(directory)
        write_bytes(directory / FILE, f"{name}\n".encode())
    row = (name, place)
    if noted.get(name) != place:
        sql = "INSERT OR REPLACE INTO datasets VALUES (?, ?)"
        journal.change(lambda connection: connection.execute(sql, row)).result()
    return name


def _is_copy(name: str, noted: str | None, place: str) -> bool:
    """Whether the directory that a journal has noted under this name is another one, and still there."""
    if noted is None or noted == place:
        return False
    try:
        return _read(Path(noted) / FILE) == name
    except DatasetError:
        return False


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        text = ""
    if not _NAME.fullmatch(text):
        raise DatasetError(
            "does not hold the name of a dataset",
            where=str(path),
            remedy="restore it, or delete it: answers that wait in a journal elsewhere are then asked for again",
            heading="The journal",
        )
    return text
