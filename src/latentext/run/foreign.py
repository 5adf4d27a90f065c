"""Whose directory it is: a run writes into a dataset or an empty folder, and moves nothing aside that is not ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentext.dataset import layout
from latentext.dataset.outputs import is_dataset, refuse_in_dataset
from latentext.errors import DatasetError, LatentextError
from latentext.storage import filesystem
from latentext.storage.lease import FOLDER as LEASES
from latentext.storage.lease import holders

_OURS = {layout.PLAN, LEASES, layout.PROVENANCE}
"""What a run makes before any file that a user may have under the same name, such as ``spec.yaml``."""


def move_aside(root: Path) -> Path | None:
    """Rename an existing dataset directory to the first free ``NAME.old-K``; returns the new name.

    Raises:
        DatasetError: another run is at work in it, or it is no dataset and not ours to move.
    """
    if not root.exists():
        return None
    refuse_foreign(root)
    if root.name in ("", ".."):
        raise DatasetError(
            "the working directory cannot be moved aside", where=str(root), remedy="work from outside it, and name it"
        )
    for name, holder in holders(root).items():
        raise DatasetError(
            f"another run is at work here: {name} is held by {holder}",
            where=str(root),
            remedy="wait for it, or stop it",
            heading="Another run holds the directory",
        )
    number = 1
    while (aside := root.with_name(f"{root.name}.old-{number}")).exists():
        number += 1
    filesystem.replace(root, aside)
    return aside


@contextmanager
def moved_back_if_refused(aside: Path | None, root: Path) -> Iterator[None]:
    """Give a dataset that was moved aside its name back where what was to take its place is refused."""
    try:
        yield
    except LatentextError:
        if aside is not None and not layout.list_stages(root) and not holders(root):
            filesystem.remove_folder(root)
            filesystem.replace(aside, root)
        raise


def refuse_foreign(root: Path) -> None:
    """Refuse a path that holds something else than a dataset.

    Raises:
        DatasetError: it is a file, a folder of other files, or a new place inside another dataset; or a folder of its
            data is a link into another dataset, whose files a run would replace.
    """
    if root.is_file():
        raise DatasetError("is a file", where=str(root), remedy="choose another --output")
    for folder in layout.linked_folders(root):
        _refuse_another_dataset(root, folder)
    names = {entry.name for entry in root.iterdir()} if root.is_dir() else set()
    if names & _OURS or is_dataset(root):
        return
    refuse_in_dataset(root)
    if names:
        raise DatasetError(
            f"holds other files ({min(names)}) and is no dataset", where=str(root), remedy="choose another --output"
        )


def _refuse_another_dataset(root: Path, folder: Path) -> None:
    for above in (folder.resolve(), *folder.resolve().parents):
        if is_dataset(above) and above != root.resolve():
            raise DatasetError(
                f"a symbolic link into another dataset, {above}",
                where=str(folder),
                remedy="link it to a folder of its own",
            )
