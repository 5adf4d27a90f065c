"""Merge the files of shards that were sampled apart: in order, without gap or overlap, and without losing a part.

The parts are named ``…_{start}to{end}.json``. Sharded sampling equals unsharded sampling text for text (each prompt has
its own stream of draws), so the merged file is the file that one run would have written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import checked_file
from latentext.errors import SpecError
from latentext.storage import filesystem
from latentext.studies.align.files import (
    TEXTS,
    lambda_path,
    read_beside,
    read_palette,
    read_texts,
    write_rows,
    write_texts,
)

_PART = re.compile(r"(?P<stem>.+)_(?P<start>\d+)to(?P<end>\d+)\.json")


@dataclass(frozen=True, slots=True)
class BankPart:
    """A file with the texts of prompts start … end - 1 of the run `stem`."""

    path: Path
    stem: str
    start: int
    end: int


def find_parts(folder: Path, stem: str) -> list[BankPart]:
    """The parts of a run in a folder, in order of their prompts.

    Raises:
        SpecError: there is none.
    """
    parts = [part_of(path) for path in sorted(folder.glob("*.json")) if _PART.fullmatch(path.name)]
    chosen = [part for part in parts if part.stem == stem]
    if not chosen:
        stems = ", ".join(sorted({part.stem for part in parts})) or "none"
        raise SpecError(f"no parts named {stem}_…to….json", where=str(folder), remedy=f"it has parts of {stems}")
    return sorted(chosen, key=lambda part: (part.start, part.end))


def part_of(path: Path) -> BankPart:
    """Read a part's name.

    Raises:
        SpecError: the name does not end in ``_{start}to{end}.json``, or its range is empty.

    Example:
        >>> part_of(Path("temp/tiny-Imdb_lam=0.500_val=humor_0to100.json")).end
        100
    """
    match = _PART.fullmatch(path.name)
    if match is None or int(match["start"]) >= int(match["end"]):
        raise SpecError("not the name of a part", where=str(path), remedy="parts end in _{start}to{end}.json")
    return BankPart(path, match["stem"], int(match["start"]), int(match["end"]))


def merge(
    paths: Iterable[Path],
    output: Path,
    *,
    prompts: int | None = None,
    remove_parts: bool = False,
    overwrite: bool = False,
) -> int:
    """Merge parts into one file.

    Args:
        paths: the parts, in any order.
        output: the merged file; the exact λ is written beside it when it lies beside the parts.
        prompts: how many prompts there are, where known, so that a missing last part is noticed too.
        remove_parts: remove the parts once the merged file is on the disk. If that was interrupted, the same call
            removes the rest.
        overwrite: replace a file of texts that holds other ones.

    Returns:
        The number of texts.

    Raises:
        SpecError: parts of different runs or λ, a gap, an overlap, or an output that is a part, exists with other
            texts, or is taken by another λ.
        DatasetError: a part that cannot be read or does not hold as many texts as its name says.
    """
    parts = sorted((part_of(path) for path in paths), key=lambda part: (part.start, part.end))
    if not parts:
        raise SpecError("no parts to merge")
    if any(part.path.resolve() == output.resolve() for part in parts):
        raise SpecError("is one of the parts", where=str(output), remedy="name another output")
    count = _merged_before(parts, output, prompts) if remove_parts else None
    if count is None:
        count = _write_merged(parts, output, prompts, overwrite=overwrite)
    if remove_parts:
        for part in parts:
            filesystem.remove(lambda_path(part.path))
            filesystem.remove(part.path)
    return count


def _write_merged(parts: list[BankPart], output: Path, prompts: int | None, *, overwrite: bool) -> int:
    _check_cover(parts, prompts)
    palette, settings = _common_palette(parts), _common_settings(parts)
    rows = [row for part in parts for row in _rows_of(part)]
    there = checked_file(output, TEXTS, overwrite=True)
    if there.exists() and read_palette(output) in (None, palette) and read_texts(there) != rows:
        checked_file(output, TEXTS, overwrite=overwrite)
    if palette is None:
        write_rows(output, rows)
    else:
        skipped = [number for part in parts for number in _skipped(part)]
        write_texts(output, rows, palette, settings=settings, skipped=skipped, overwrite=overwrite)
    return len(rows)


def _merged_before(parts: list[BankPart], output: Path, prompts: int | None) -> int | None:
    """How many texts the output has, if it holds those of all parts already; some of the parts may be gone."""
    if not output.is_file() or prompts not in (None, parts[-1].end):
        return None
    rows, skipped = read_texts(output), set(read_beside(output).get("skipped", []))
    if len(rows) + len(skipped) != parts[-1].end:
        return None
    # The output has no row for a prompt without text.
    place = [0, *accumulate(number not in skipped for number in range(parts[-1].end))]
    same = all(
        read_palette(part.path) in (None, read_palette(output))  # A part's λ goes before its texts.
        and read_texts(part.path) == rows[place[part.start] : place[part.end]]
        for part in parts
        if part.path.exists()
    )
    return len(rows) if same else None


def _check_cover(parts: list[BankPart], prompts: int | None) -> None:
    stems = sorted({part.stem for part in parts})
    if len(stems) > 1:
        raise SpecError(f"parts of different runs: {', '.join(stems)}", remedy="merge one run at a time")
    expected = 0
    for part in parts:
        if part.start > expected:
            raise SpecError(
                f"prompts {expected} to {part.start} are missing", where=parts[0].stem, remedy="sample them"
            )
        if part.start < expected:
            raise SpecError(
                f"prompts {part.start} to {min(expected, part.end)} stand in two parts",
                where=str(part.path),
                remedy="move one of the overlapping parts away",
            )
        expected = part.end
    if prompts is not None and expected != prompts:
        raise SpecError(f"prompts {expected} to {prompts} are missing", where=parts[0].stem, remedy="sample them")


def _common_palette(parts: list[BankPart]) -> dict[str, float] | None:
    """The exact λ of all parts; None for parts of another program, which say it in their names only."""
    first, *others = parts
    palette = read_palette(first.path)
    for part in others:
        theirs = read_palette(part.path)
        if theirs != palette:
            raise SpecError(
                f"has λ {theirs or 'unknown'}, {first.path.name} has {palette or 'unknown'}",
                where=str(part.path),
                remedy="sample one of them again",
            )
    return palette


def _common_settings(parts: list[BankPart]) -> dict[str, Any]:
    """How the texts of all parts were drawn; parts that were drawn otherwise are no parts of one run."""
    first, *others = parts
    settings: dict[str, Any] = read_beside(first.path).get("settings", {})
    for part in others:
        theirs = read_beside(part.path).get("settings", {})
        for name in sorted(settings.keys() | theirs.keys()):
            if settings.get(name) != theirs.get(name):
                raise SpecError(
                    f"has {name} {theirs.get(name)}, {first.path.name} has {settings.get(name)}",
                    where=str(part.path),
                    remedy="sample one of them again",
                )
    return settings


def _skipped(part: BankPart) -> list[int]:
    """Prompts of a part that have no text: recorded, and no gap."""
    return list(read_beside(part.path).get("skipped", []))


def _rows_of(part: BankPart) -> list[dict[str, Any]]:
    rows = read_texts(part.path)
    expected = part.end - part.start - len(_skipped(part))
    if len(rows) != expected:
        raise SpecError(
            f"holds {len(rows)} texts, its name says {expected}",
            where=str(part.path),
            remedy="sample it again",
        )
    return rows
