"""The one door for files outside a dataset: exports, reports, probes, drawn texts, pairs.

A user names the place, so anything may be there. Three rules hold for every writer:

* An output never is, holds or lies in a dataset. Links and ``..`` are followed first, and a dataset is known by what it
  holds, never by its path.
* A file is replaced only if the user asked for it and it was made by the same kind of writer (`OutputKind`).
* Temporary files that dead processes left at the place are removed, so the same command always goes on.

Every function returns the real place, to be written to in the name's stead: a link stays a link.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from latentext.dataset import layout
from latentext.errors import DatasetError, SpecError
from latentext.storage import filesystem
from latentext.storage.atomic import PendingFile, atomic_file, atomic_folder, sweep

_ELSEWHERE = "choose another place"


@dataclass(frozen=True)
class OutputKind:
    """Files of one writer.

    Attributes:
        name: in messages, such as "exported records".
        made_before: whether a file, regular and not empty, is one that the same writer makes.
        endings: of names, such as ``.json``: one that says another format is refused. Empty where the writer looks
            itself.
    """

    name: str
    made_before: Callable[[Path], bool]
    endings: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutputFolderKind:
    """Folders of one writer.

    Attributes:
        name: in messages, such as "exported NumPy arrays".
        others: what a folder, not empty, holds beside the writer's own files; nothing where it may be replaced.
    """

    name: str
    others: Callable[[Path], Sequence[str]]


@contextmanager
def output_file(
    path: Path, kind: OutputKind, *, overwrite: bool, option: str | None = "--overwrite", views: Path | None = None
) -> Iterator[PendingFile]:
    """Write a file that appears when the block ends, and not at all when it raises; see `checked_file`."""
    place = checked_file(path, kind, overwrite=overwrite, option=option, views=views)
    filesystem.make_folder(place.parent)
    with atomic_file(place) as file:
        yield file


@contextmanager
def output_folder(
    path: Path, kind: OutputFolderKind, *, overwrite: bool, option: str | None = "--overwrite"
) -> Iterator[Path]:
    """Fill a folder that appears when the block ends, and not at all when it raises; see `checked_folder`."""
    place = checked_folder(path, kind, overwrite=overwrite, option=option)
    with atomic_folder(place, overwrite=True) as folder:
        yield folder


def checked_file(
    path: Path, kind: OutputKind, *, overwrite: bool, option: str | None = "--overwrite", views: Path | None = None
) -> Path:
    """Where a file may be written; leftovers of dead processes beside it are removed.

    Args:
        overwrite: replace a file that the same kind of writer made.
        option: what the user passes to say so, for the message; None where nothing does.
        views: a folder in the dataset that belongs to the writer, such as ``DIR/report``.

    Raises:
        SpecError: the name ends as another format does, or the file exists and may not be replaced unasked.
        DatasetError: the place is in a dataset, or holds something else.
    """
    if kind.endings and path.suffix and path.suffix.lower() not in kind.endings:
        what = f"{kind.name} are not written as {path.suffix}"
        raise SpecError(what, where=str(path), remedy=f"end the name in {' or '.join(kind.endings)}")
    place = _outside_datasets(path, views)
    if place.is_dir():
        raise DatasetError("is a folder", where=str(path), remedy="name a file")
    if place.exists():
        if not overwrite:
            raise SpecError("exists already", where=str(path), remedy=_or_asked(option))
        if not _replaceable(place, kind):
            raise DatasetError(f"is no file of {kind.name}", where=str(path), remedy=f"{_ELSEWHERE}, or remove it")
    _sweep(place.parent)
    return place


def checked_folder(path: Path, kind: OutputFolderKind, *, overwrite: bool, option: str | None = "--overwrite") -> Path:
    """Where a folder may be made anew; arguments, errors and clean-up are those of `checked_file`.

    An empty folder is as good as none.
    """
    place = _outside_datasets(path, None)
    if place.exists() and not place.is_dir():
        raise DatasetError("is a file", where=str(path), remedy="name a folder")
    if place.is_dir():
        _sweep(place)
        if any(place.iterdir()):
            _refuse_held_datasets(path, place)
            if others := sorted(kind.others(place)):
                what = f"holds other files ({others[0]}) than {kind.name}"
                raise DatasetError(what, where=str(path), remedy=_ELSEWHERE)
            if not overwrite:
                raise SpecError("exists already", where=str(path), remedy=_or_asked(option))
    _sweep(place.parent)
    return place


def checked_members(folder: Path, members: Mapping[str, OutputKind], *, views: Path | None = None) -> Path:
    """Where files with these names may be written into a folder; other files in it stay.

    What the same writer made before is replaced: a report or a probe is made again under the names it had.

    Raises:
        DatasetError: the place is in a dataset, or one of the names is taken by something else.
    """
    place = _outside_datasets(folder, views)
    if place.exists() and not place.is_dir():
        raise DatasetError("is a file", where=str(folder), remedy="name a folder")
    for name, kind in members.items():
        there = place / name
        if os.path.lexists(there) and not _in_views(place, views) and not _replaceable(there, kind):
            raise DatasetError(f"is no file of {kind.name}", where=str(folder / name), remedy=_ELSEWHERE)
    _sweep(place)
    return place


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset directory, or what is left of one.

    A folder with no more than a ``spec.yaml`` is a user's own.
    """
    if any(layout.is_stage(stage) for stage in layout.list_stages(folder, "records")):
        return True
    signs = (layout.SPEC, layout.PROVENANCE, f"{layout.PLAN}/plan.json")
    return sum((folder / sign).is_file() for sign in signs) > 1


def refuse_in_dataset(path: Path, views: Path | None = None) -> Path:
    """Follow links, and refuse a place that is a dataset or lies in one; returns the real place.

    Raises:
        DatasetError: naming the dataset.
    """
    return _outside_datasets(path, views)


def _outside_datasets(path: Path, views: Path | None) -> Path:
    place = Path(os.path.realpath(path))
    if _in_views(place, views):
        return place
    for folder in (place, *place.parents):
        if is_dataset(folder):
            what = "is a dataset" if folder == place else f"lies in the dataset {folder.name}"
            raise DatasetError(what, where=str(path), remedy="choose a place outside of datasets")
    return place


def _in_views(place: Path, views: Path | None) -> bool:
    """Whether this is the writer's own folder in a dataset; a link from there into another part of one is not."""
    if views is None:
        return False
    own = Path(os.path.realpath(views.parent)) / views.name
    return place == own or own in place.parents


def _refuse_held_datasets(path: Path, place: Path) -> None:
    """For the message alone: a folder with anything of another kind in it is refused anyway."""
    for inner in (*place.glob("*"), *place.glob("*/*")):
        if inner.is_dir() and is_dataset(inner):
            what = f"holds the dataset {inner.relative_to(place)}"
            raise DatasetError(what, where=str(path), remedy="choose a place outside of datasets")


def _or_asked(option: str | None) -> str:
    return f"{_ELSEWHERE}, or {'remove it' if option is None else f'pass {option} to replace it'}"


def _sweep(folder: Path) -> None:
    with suppress(DatasetError):  # What another user left may stay: it stands in nobody's way.
        sweep(folder, below=False)


def _replaceable(path: Path, kind: OutputKind) -> bool:
    """Whether nothing but an earlier output would be lost. What is no regular file is not even opened."""
    if not path.is_file():
        return False
    return path.stat().st_size == 0 or kind.made_before(path)


# How a file of ours is known again before it is replaced: by what it begins with, or by its columns.
#
# The first bytes are enough. They tell an export from a thesis, and a file of ours that was cut or damaged is still
# ours.

_LOOKED_AT = 4096


def begins(pattern: str) -> Callable[[Path], bool]:
    """A test of files: whether the first bytes match a regular expression.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.jsonl")
        >>> _ = path.write_text('{"index": 0, "text": "a"}')
        >>> begins(r'\\{"index": \\d+, ')(path), begins(r'\\{"scenario_id": ')(path)
        (True, False)
    """
    wanted = re.compile(pattern.encode(), re.DOTALL)

    def made_before(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return wanted.match(file.read(_LOOKED_AT)) is not None
        except OSError:
            return False

    return made_before


def has_columns(names: Iterable[str]) -> Callable[[Path], bool]:
    """A test of files: whether it is Parquet and begins with these columns."""
    wanted = list(names)

    def made_before(path: Path) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return bool(pq.read_schema(path).names[: len(wanted)] == wanted)
        except (OSError, pa.ArrowException):
            return False

    return made_before
