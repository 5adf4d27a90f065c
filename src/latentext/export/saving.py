"""`save_dataset`: rows from a notebook as the NumPy files of the output-length experiments.

The rows come as flat lists, text after text, each of which ends where nothing remains. So texts can be told apart and
kept whole in a split, which the experiments' own cut by rows does not do; that cut exists by name. Files are those of
`latentext.export.npy`, and appear together or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latentext.dataset.outputs import output_folder
from latentext.dataset.splits import SEQUENTIAL, parse_split, sequential, split_groups
from latentext.errors import ArgumentError
from latentext.export.npy import METADATA, NPY, TOKEN_METADATA
from latentext.export.npy_files import NpyWriter
from latentext.spec import SplitSpec
from latentext.storage.atomic import write_bytes

TEXT = "text"
_BUFFER_BYTES = 2**20
Split = dict[str, npt.NDArray[np.int64]]


def save_dataset(
    output_dir: str | Path,
    hidden_states_list: Sequence[Any],
    remaining_tokens_list: Sequence[Any],
    token_metadata_list: Sequence[Any],
    train_val_split: float | str = 0.9,
    additional_metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``{train,val}_{hidden_states,remaining_tokens,token_metadata}.npy`` and metadata.json.

    Args:
        output_dir: is made; files of an earlier call in it are replaced, and no others.
        hidden_states_list: one state a row, [width] each, or an array [N, width].
        remaining_tokens_list: tokens still to come; 0 ends a text.
        token_metadata_list: ``{"token_id": …, "token_text": …}`` a row; texts are cut at 100 characters.
        train_val_split: share of the texts that train; or ``"rows-sequential:0.9"``, the first rows whatever the text.
        additional_metadata: JSON values that stand in metadata.json too; they win over what is counted here.

    Returns:
        What metadata.json says.

    Raises:
        ArgumentError: the lists differ in length or are empty, states differ in width, remaining counts are not those
            of whole texts, or the share is none.
        DatasetError: a split would be empty, or `output_dir` holds other files or is, holds or lies in a dataset.

    Example:
        >>> import tempfile
        >>> tokens = [{"token_id": 5, "token_text": " a"}] * 6
        >>> found = save_dataset(tempfile.mkdtemp(), np.ones((6, 4)), [2, 1, 0] * 2, tokens, train_val_split=0.5)
        >>> found["total_samples"], found["rows"]
        (2, {'train': 3, 'val': 3})
    """
    folder, split = Path(output_dir).absolute(), _split_spec(train_val_split)
    remaining = _remaining(remaining_tokens_list)
    lengths = len(hidden_states_list), len(remaining), len(token_metadata_list)
    if len(set(lengths)) != 1 or not len(remaining):
        raise ArgumentError(
            f"{lengths[0]} states, {lengths[1]} remaining counts and {lengths[2]} tokens",
            remedy="give one of each a row",
        )
    rows = _divide(remaining, split)
    first = _numpy(hidden_states_list[0])
    if first.ndim != 1:
        raise ArgumentError(
            f"row 0 has shape {first.shape}", where="hidden_states_list", remedy="give one vector a row"
        )
    metadata = {
        "total_samples": int((remaining == 0).sum()),
        "total_tokens": len(remaining),
        "rows": {name: len(numbers) for name, numbers in rows.items()},
        "split": split.model_dump(),
        "total_hidden_dim": int(first.size),
        **(additional_metadata or {}),
    }
    text = _json(metadata)
    with output_folder(folder, NPY, overwrite=True) as unfinished:
        for name, numbers in rows.items():
            _write_states(unfinished / f"{name}_hidden_states.npy", hidden_states_list, numbers, first)
            _write(unfinished / f"{name}_remaining_tokens.npy", remaining[numbers].astype("<i8"))
            described = np.array([_described(token_metadata_list[row]) for row in numbers], TOKEN_METADATA)
            _write(unfinished / f"{name}_token_metadata.npy", described)
        write_bytes(unfinished / METADATA, text)
    return metadata


def _divide(remaining: npt.NDArray[np.int64], split: SplitSpec) -> Split:
    """Row numbers by split, in the order of the rows."""
    if split.by == SEQUENTIAL:
        return sequential(len(remaining), split)
    ends = remaining == 0
    follows = np.diff(remaining) == -1
    if not ends[-1] or not (follows | ends[:-1]).all():
        row = len(remaining) - 1 if (follows | ends[:-1]).all() else int(np.argmin(follows | ends[:-1]))
        raise ArgumentError(
            f"row {row} has {remaining[row]} tokens to come, and the text does not go on",
            where="remaining_tokens_list",
            remedy='give whole texts in order, or train_val_split="rows-sequential:0.9"',
        )
    text_of_row = np.cumsum(ends) - ends
    return split_groups([b"%d" % number for number in text_of_row.tolist()], split)


def _write_states(path: Path, states: Sequence[Any], rows: npt.NDArray[np.int64], first: npt.NDArray[Any]) -> None:
    dtype = np.dtype("<f2" if first.dtype == np.float16 else "<f4")
    # One buffer that fits into a cache: fresh memory for every chunk costs as much as the disk does.
    buffer = np.empty((max(1, _BUFFER_BYTES // (first.size * dtype.itemsize)), first.size), dtype)
    with NpyWriter(path, (len(rows), first.size), dtype) as file:
        for start in range(0, len(rows), len(buffer)):
            numbers = rows[start : start + len(buffer)]
            chunk = buffer[: len(numbers)]
            if isinstance(states, np.ndarray):
                chunk[:] = states[numbers]
            else:
                _gather(states, numbers.tolist(), chunk)
            file.write(chunk)


def _gather(states: Sequence[Any], rows: Sequence[int], into: npt.NDArray[Any]) -> None:
    """Copy single states into the rows of an array."""
    width = into.shape[1]
    for place, row in enumerate(rows):
        state = _numpy(states[row])
        if state.shape != (width,):
            raise ArgumentError(f"row {row} has shape {state.shape}, not ({width},)", where="hidden_states_list")
        into[place] = state


def _write(path: Path, array: npt.NDArray[Any]) -> None:
    with NpyWriter(path, array.shape, array.dtype) as file:
        file.write(array)


def _numpy(state: Any) -> npt.NDArray[Any]:
    """A state as an array; tensors are taken from wherever they are."""
    if hasattr(state, "detach"):
        state = state.detach().cpu()
        state = state.float() if "bfloat16" in str(state.dtype) else state
        return np.asarray(state.numpy())
    return np.asarray(state)


def _remaining(counts: Sequence[Any]) -> npt.NDArray[np.int64]:
    remaining = np.asarray([int(count) for count in counts], np.int64)
    if (remaining < 0).any():
        raise ArgumentError(
            f"row {int(np.argmax(remaining < 0))} has no known number of tokens to come",
            where="remaining_tokens_list",
            remedy="leave out prompt rows, and texts that were cut",
        )
    return remaining


def _described(token: Any) -> tuple[int, str]:
    try:
        return int(token["token_id"]), str(token["token_text"])
    except (TypeError, KeyError, IndexError, ValueError):
        what = f"{token!r} has no token_id and token_text"
        raise ArgumentError(what[:200], where="token_metadata_list") from None


def _split_spec(train_val_split: float | str) -> SplitSpec:
    if isinstance(train_val_split, str):
        split = parse_split(train_val_split)
        if split.by not in (SEQUENTIAL, TEXT):
            raise ArgumentError(
                f"rows cannot be split by {split.by!r}", where="train_val_split", remedy=f"use {TEXT} or {SEQUENTIAL}"
            )
        return split
    if not 0 < train_val_split < 1:
        raise ArgumentError(
            f"{train_val_split} of the texts cannot train", where="train_val_split", remedy="give a share such as 0.9"
        )
    return SplitSpec(by=TEXT, val=round(1 - train_val_split, 12))


def _json(metadata: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(metadata, indent=2, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise ArgumentError(str(error), where="additional_metadata", remedy="give JSON values") from error
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON has them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
