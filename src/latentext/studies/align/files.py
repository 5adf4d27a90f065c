"""The JSON files of value-aligned sampling, named and shaped as MAP's gendata names and shapes them.

    results/opt1.3b-Imdb.json                                           [{prompt, generated, perplexity}]
    results/temp/opt1.3b-Imdb_lam=-0.500_val=humor_0to1000.json         [{prompt, generated}]
    results/opt1.3b-Imdb_lam=-0.500_val=humor.json                      the parts, merged

Their names round λ to three decimals, so two λ can share one. That must never cost a file: beside each lies a small
``.lam`` file with the exact λ, how it was drawn, and the prompts that have no text; a name that is taken by another λ
is refused. *Full names* carry λ exactly, in the name and in every row.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import OutputKind, begins, checked_file, output_file
from latentext.errors import DatasetError, SpecError
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes

TEXTS = OutputKind("drawn texts", begins(r'\[\s*(\]|\{\s*"prompt": )'), (".json",))
FRONTIER = OutputKind("points of a frontier", begins("nats,λ "), (".csv",))
_LAMBDA = OutputKind("λ beside texts", begins(r'\{\s*"lam": '))
_MOST_BYTES = 1 << 30


def model_file_name(basemodel_name: str) -> str:
    """The last part of a model's name or path.

    Example:
        >>> model_file_name("facebook/opt-1.3b"), model_file_name("models/tiny/")
        ('opt-1.3b', 'tiny')
    """
    return basemodel_name.rstrip("/").rsplit("/", 1)[-1]


def original_path(save_directory: str | Path, basemodel_name: str, data_name: str) -> Path:
    """Where the base model's own continuations go.

    Example:
        >>> original_path("results", "facebook/opt-1.3b", "Imdb").as_posix()
        'results/opt-1.3b-Imdb.json'
    """
    return Path(save_directory) / f"{model_file_name(basemodel_name)}-{data_name}.json"


def palette_stem(original: Path, palette: Mapping[str, float], *, all_values: bool, full_names: bool = False) -> str:
    """The name of a palette's files without index range and suffix.

    Example:
        >>> palette_stem(Path("results/tiny-Imdb.json"), {"humor": -0.5}, all_values=False)
        'tiny-Imdb_lam=-0.500_val=humor'
        >>> palette_stem(Path("results/tiny-Imdb.json"), {"humor": 0.12345}, all_values=False, full_names=True)
        'tiny-Imdb_lam=0.12345_val=humor'
    """
    lambdas = ",".join(repr(lam) if full_names else f"{lam:.3f}" for lam in palette.values())
    values = "all" if all_values else ",".join(palette)
    return f"{original.stem}_lam={lambdas}_val={values}"


def part_path(original: Path, stem: str, start_index: int, end_index: int) -> Path:
    """Where the texts of prompts start_index … end_index - 1 go.

    Example:
        >>> part_path(Path("results/tiny-Imdb.json"), "tiny-Imdb_lam=-0.500_val=humor", 0, 100).as_posix()
        'results/temp/tiny-Imdb_lam=-0.500_val=humor_0to100.json'
    """
    return original.parent / "temp" / f"{stem}_{start_index}to{end_index}.json"


def index_range(start_index: int, end_index: int | None, prompts: int) -> range:
    """The prompts to do; an end beyond the last prompt means the last.

    Raises:
        SpecError: a range that is empty or begins before 0.

    Example:
        >>> index_range(100, None, 250), index_range(100, 1000, 250)
        (range(100, 250), range(100, 250))
    """
    end = prompts if end_index is None else min(end_index, prompts)
    if not 0 <= start_index < end:
        raise SpecError(f"no prompts from {start_index} to {end_index}", remedy=f"there are {prompts} (0 to {prompts})")
    return range(start_index, end)


def check_not_taken(path: Path, palette: Mapping[str, float]) -> None:
    """Refuse a path under which the texts of another λ lie; the same λ may be written again.

    Raises:
        SpecError: the file exists with another λ, or does not say its λ.
    """
    if not path.exists():
        return
    exact = read_palette(path)
    if exact == dict(palette):
        return
    theirs = "unknown" if exact is None else _in_words(exact)
    raise SpecError(
        f"holds the texts of λ {theirs}, and λ {_in_words(palette)} rounds to the same name",
        where=str(path),
        remedy="give --full-names, or move the file away",
    )


def write_texts(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    palette: Mapping[str, float],
    *,
    settings: Mapping[str, Any] | None = None,
    skipped: Sequence[int] = (),
    full_names: bool = False,
    overwrite: bool = False,
) -> None:
    """Write texts and, beside them, their exact λ; both appear complete or not at all.

    Args:
        rows: {prompt, generated} each; with `full_names` every row gets `lam`, the mapping from value to exact λ.
        settings: what else decided them, such as samples and seed; parts that differ in it are not merged.
        skipped: the numbers of prompts that have no text.
        overwrite: replace the texts of another λ too.

    Raises:
        SpecError: the name is taken by another λ.
        DatasetError: the place lies in a dataset, or a file there holds something else.
    """
    if not overwrite:
        check_not_taken(path, palette)
    place = checked_file(path, TEXTS, overwrite=True)
    place_beside = checked_file(lambda_path(path), _LAMBDA, overwrite=True)
    filesystem.make_folder(place.parent)
    # λ goes first: a file without its λ could not be told from one that another program wrote.
    beside = _json({"lam": dict(palette), "settings": dict(settings or {}), "skipped": list(skipped)})
    if place_beside.exists() and place_beside.read_bytes() != beside:
        filesystem.remove(place)  # At no moment may the old texts stand beside the new λ.
    write_bytes(place_beside, beside)
    write_rows(path, [{**row, "lam": dict(palette)} for row in rows] if full_names else rows)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a JSON list that appears complete or not at all; earlier ones are replaced.

    Raises:
        DatasetError: the place lies in a dataset, or the file there holds something else.
    """
    place = checked_file(path, TEXTS, overwrite=True)
    filesystem.make_folder(place.parent)
    write_bytes(place, _json([dict(row) for row in rows]))


def write_frontier(path: Path, rows: Sequence[Sequence[str]], *, overwrite: bool = False) -> None:
    """Write the points of a frontier as CSV, the names of the columns in the first row.

    Raises:
        SpecError: the file exists already.
        DatasetError: the place lies in a dataset, or the file there holds something else.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    with output_file(path, FRONTIER, overwrite=overwrite) as file:
        file.write(text.getvalue().encode())


def read_texts(path: Path) -> list[dict[str, Any]]:
    """Read a file of texts back.

    Raises:
        DatasetError: it cannot be read, or is not a list of objects with `prompt` and `generated`.
    """
    try:
        rows = json.loads(filesystem.read_bytes(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"cannot be read as JSON: {error}", where=str(path), remedy="make it again") from error
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and {"prompt", "generated"} <= set(row) for row in rows
    ):
        raise DatasetError("not a list of {prompt, generated}", where=str(path), remedy="make it again")
    return rows


def read_palette(path: Path) -> dict[str, float] | None:
    """The exact λ of a file of texts, or None when nothing beside it says so."""
    found = read_beside(path).get("lam")
    return {str(name): float(lam) for name, lam in found.items()} if isinstance(found, dict) else None


def read_beside(path: Path) -> dict[str, Any]:
    """What lies beside a file of texts: `lam`, `settings` and `skipped`; empty when nothing does."""
    try:
        found = json.loads(filesystem.read_bytes(lambda_path(path)))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and _is_beside(found) else {}


def _is_beside(found: Mapping[str, Any]) -> bool:
    """Whether what was found has the types that `write_texts` gives it."""
    lam, settings, skipped = found.get("lam", {}), found.get("settings", {}), found.get("skipped", [])
    return (
        isinstance(lam, dict)
        and all(isinstance(value, int | float) and abs(value) < float("inf") for value in lam.values())
        and isinstance(settings, dict)
        and isinstance(skipped, list)
        and all(isinstance(number, int) for number in skipped)
    )


def lambda_path(path: Path) -> Path:
    """The small file beside a file of texts that holds its exact λ; patterns over ``.json`` parts must not match it."""
    return path.with_name(path.name.removesuffix(".json") + ".lam")


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=4, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _in_words(palette: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={lam!r}" for name, lam in palette.items())
