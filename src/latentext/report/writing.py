"""The files of a report: one page that holds all pictures, and a PNG file of each.

The page is written first. So a folder in which a page of ours lies is known again, and its pictures with it; in a
folder without one nothing is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latentext.dataset.outputs import OutputKind, begins, checked_members
from latentext.report.picture import Picture
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes

PAGE = "index.html"
_BEGINNING = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;; img-src data:; '
)
_is_page = begins(_BEGINNING)
_PAGE_KIND = OutputKind("a report", _is_page)
_PICTURE_KIND = OutputKind("a report", lambda path: _is_page(path.with_name(PAGE)))


def report_folder(folder: Path, pictures: Sequence[Picture] = (), *, views: Path | None = None) -> Path:
    """Where a report may be written; called once before anything is drawn, and again when the pictures are known.

    Args:
        views: the dataset's own folder of such reports.

    Raises:
        DatasetError: the folder lies in a dataset otherwise, or a file of the same name is no part of a report.
    """
    names = {f"{picture.name}.png": _PICTURE_KIND for picture in pictures}
    return checked_members(folder, {PAGE: _PAGE_KIND, **names}, views=views)


def write_report(folder: Path, page: str, pictures: Sequence[Picture], *, views: Path | None = None) -> Path:
    """Write the page and the pictures, and return the page's path; errors as `report_folder`."""
    place = report_folder(folder, pictures, views=views)
    filesystem.make_folder(place)
    # A token may hold half a surrogate pair, which UTF-8 cannot write.
    write_bytes(place / PAGE, page.encode("utf-8", "backslashreplace"))
    for picture in pictures:
        write_bytes(place / f"{picture.name}.png", picture.png)
    return folder / PAGE
