"""The files that other packages read: one ``.pt`` a text and one ``.pkl`` with all texts, as exports of a dataset.

They can be made again from the dataset at any time, so they are renamed into place but not synced. What stands under
one of their names is only replaced if it says the same: vectors of two experiments in one folder could not be told
apart later.
"""

from __future__ import annotations

import csv
import io
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from latentext.dataset.frame import column_names
from latentext.dataset.outputs import OutputKind, begins, checked_file, checked_members
from latentext.dataset.reader import Dataset
from latentext.errors import SpecError
from latentext.finish_reasons import is_whole
from latentext.phases import phase
from latentext.spec import Pool
from latentext.storage import filesystem
from latentext.storage.atomic import atomic_file, temporary_name
from latentext.studies.represent.segments import Ends, segment_states
from latentext.studies.represent.texts import Name

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?")
_KINDS = {
    ".pkl": OutputKind("a pickled frame", begins("\\x80")),
    ".csv": OutputKind("a fidelity table", begins("index,id,")),
    ".npz": OutputKind("states at segments", begins("PK")),
}
"""Of the files of a run, by their endings."""
_REMEDY = "choose another output_hidden_dir or prefix_hidden, or remove the files"


def hidden_folder(output_hidden_dir: Path, site: str, pool: Pool, *, alone: bool) -> Path:
    """Where the files of one site and pooling lie: in the folder itself, or with several in one folder for each."""
    return output_hidden_dir if alone else output_hidden_dir / f"{site}-{pool}"


def refuse_foreign_files(
    folder: Path, prefix: str, names: Sequence[Name], pools: Sequence[Pool], *, ours: bool
) -> None:
    """Raise if the folder, or that of a site and pooling in it, holds vectors that this run would stand beside.

    Args:
        pools: of which several sites or poolings have folders of their own; none where there is one vector a text.
        ours: an earlier run of the same dataset may have written those of `names`.

    Raises:
        SpecError: naming the first such file.
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError("is a file", where=str(folder), remedy="choose another output_hidden_dir")
    own = {f"{prefix}{name}.pt" for name in names} if ours else set()
    for place in (folder, *(there for pool in pools for there in sorted(folder.glob(f"*-{pool}")))):
        for path in sorted(place.glob(f"{glob_escaped(prefix)}*.pt")):
            if path.name not in own:
                raise SpecError(f"holds {path.name} of another run", where=str(place), remedy=_REMEDY)


def refuse_taken_place(path: Path, *, ours: bool) -> None:
    """Raise if a file of the run may not be written; of an earlier run of the same dataset it may.

    Raises:
        SpecError: the file exists, and its dataset does not.
        DatasetError: the place lies in a dataset, or the file is none of such a run.
    """
    checked_file(path, _KINDS[path.suffix], overwrite=ours, option=None)


def write_vectors(dataset: Dataset, folder: Path, prefix: str, names: Sequence[Name], site: str, pool: Pool) -> int:
    """Write ``{prefix}{name}.pt`` for every text that has states; returns how many there are.

    Each file holds one contiguous CPU tensor with a storage of its own, [1, width] where pooled and else [T, width],
    in the dtype of the states, and loads with ``torch.load(path, weights_only=True)``.

    Raises:
        SpecError: a file of that name holds something else.
    """
    filesystem.make_folder(checked_members(folder, {}))
    with phase("writing vectors", len(names)) as writing:
        for index, states in _states_of_texts(dataset, site, pool):
            _write_tensor(folder / f"{prefix}{names[index]}.pt", states)
            writing.moved()
    return writing.done


def text_frame(dataset: Dataset, prompts: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A row per prompt, in their order: X (the text, None where the request failed), P (the prompt), cut (whether the
    text did not end by itself, NA where it failed), and the input's other `columns`.

    An input column named like one of the first three is called ``input.<name>``.
    """
    texts: list[str | None] = [None] * len(prompts)
    cut: list[bool | None] = [None] * len(prompts)
    for records in dataset.iter_records(["index", "text", "finish_reason"]):
        for row in records.to_pylist():
            if row["index"] < len(texts):
                texts[row["index"]], cut[row["index"]] = row["text"], not is_whole(row["finish_reason"])
    own = {"X": pd.Series(texts, dtype=object), "P": list(prompts), "cut": pd.array(cut, dtype="boolean")}
    called = column_names(columns, set(own), "input.")
    return pd.DataFrame({**own, **{called[name]: list(values) for name, values in columns.items()}})


def cut_texts(dataset: Dataset) -> list[int]:
    """The indices of texts that did not end by themselves: they were cut, or nobody knows why they ended."""
    return [
        row["index"]
        for records in dataset.iter_records(["index", "finish_reason"])
        for row in records.to_pylist()
        if not is_whole(row["finish_reason"])
    ]


def one_token_texts(dataset: Dataset) -> list[int]:
    """The indices of texts whose only token is their end (or that were allowed only one): they have no state of their
    own, and every pooling falls back to the state at the end of the prompt."""
    return [
        index
        for records in dataset.iter_records(["index", "token_ids"])
        for index, token_ids in zip(records["index"].to_pylist(), records["token_ids"].to_pylist(), strict=True)
        if len(token_ids) == 1
    ]


def write_segments(
    dataset: Dataset, tokenizer: Any, ends: Ends | Mapping[Any, Sequence[int]], sites: Sequence[str], path: Path
) -> None:
    """Write the states at the ends of segments as npz: an array [N, T, width] named after each site, `lengths` [N]
    and `ids` [N], in one order."""
    made = {site: segment_states(dataset, tokenizer, ends, site) for site in sites}
    first = made[sites[0]]
    content = io.BytesIO()
    arrays = {site: segments.states for site, segments in made.items()}
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in {"ids": np.asarray(first.ids), "lengths": first.lengths, **arrays}.items():
            # numpy's own savez writes the time of day, and two equal runs would leave two files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    filesystem.make_folder(path.parent)
    with atomic_file(path) as target:
        target.write(content.getbuffer())


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as pickle or CSV, as the ending of `path` says.

    A spreadsheet runs a cell that begins like a formula, so in CSV such a text gets an apostrophe before it; exact
    texts are in the pickle and in the dataset.
    """
    filesystem.make_folder(path.parent)
    content = io.BytesIO()
    if path.suffix == ".csv":
        cells = frame.map(_no_formula).rename(columns=_no_formula)
        returns = cells.map(lambda cell: isinstance(cell, str) and "\r" in cell).to_numpy().any()
        # By itself pandas quotes no carriage return, and the row would end there.
        cells.to_csv(content, index=False, quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)
    else:
        frame.to_pickle(content)
    with atomic_file(path) as file:
        file.write(content.getbuffer())


def _no_formula(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula (OWASP, *CSV Injection*); numbers, written as text too, stay."""
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def glob_escaped(text: str) -> str:
    """`text` as a pattern that matches itself."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)


def _states_of_texts(dataset: Dataset, site: str, pool: Pool) -> Iterator[tuple[int, torch.Tensor]]:
    view = dataset.states(site, pool=pool)
    for shard in view.shards():
        rows = shard.rows
        starts = np.flatnonzero(np.diff(rows["index"], prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            yield int(rows["index"][start]), shard.torch(slice(start, stop))


def _write_tensor(path: Path, tensor: torch.Tensor) -> None:
    content = io.BytesIO()
    torch.save(tensor.contiguous().clone(), content)
    if path.exists():
        if path.read_bytes() != content.getvalue() and not _holds(path, tensor):
            raise SpecError("holds another vector", where=str(path), remedy=_REMEDY)
        return
    temporary = path.with_name(temporary_name(path.name))
    filesystem.create_with(temporary, content.getvalue())
    filesystem.replace(temporary, path)


def _holds(path: Path, tensor: torch.Tensor) -> bool:
    """Whether the file, perhaps of another version of torch, holds this tensor."""
    try:
        there = torch.load(path, weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError):
        return False
    return isinstance(there, torch.Tensor) and there.dtype == tensor.dtype and torch.equal(there, tensor)
