"""Export to the NumPy files of the output-length experiments, for code that reads those.

    {train,val}_hidden_states.npy      [N, width]  sites side by side in the order asked for
    {train,val}_remaining_tokens.npy   [N] int64   tokens still to come after the one that the state predicts
    {train,val}_token_metadata.npy     [N]         token_id and token_text of the token that the state predicts
    metadata.json

Where states were pooled, N is texts, `remaining_tokens` are those of the row that a pooling stands on, and
``{train,val}_texts.npy`` [N] holds the `index` and `sample` of each row's text, so that labels can be joined.

Rows are in the order of generation, texts stay whole within a split, and everything loads without allow_pickle. A
text that was cut at the limit has no known remaining length: such texts are left out and counted, or, if asked for,
kept and marked row by row in ``{train,val}_censored.npy``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from latentext.dataset.captures import pool_of_texts, sites_with
from latentext.dataset.correctness import CORRECTNESS_FACTS
from latentext.dataset.outputs import OutputFolderKind, begins, checked_folder, output_folder
from latentext.dataset.reader import Dataset
from latentext.dataset.split_rows import LEFT_OUT, SplitRows, SplitShard, Truncated, split_rows
from latentext.dataset.states_view import StatesView
from latentext.dataset.targets import refuse_given_texts
from latentext.errors import DatasetError
from latentext.export.npy_files import NpyWriter
from latentext.phases import phase
from latentext.spec import Keep, Pool, SplitSpec
from latentext.storage.atomic import write_bytes

TOKEN_METADATA = np.dtype([("token_id", "<i4"), ("token_text", "<U100")])
"""Type of ``{train,val}_token_metadata.npy``; longer token texts are cut at 100 characters."""

TEXTS = np.dtype([("index", "<i8"), ("sample", "<i4")])
"""Type of ``{train,val}_texts.npy``."""

METADATA = "metadata.json"
_ARRAY = re.compile(r"[a-z]+_(hidden_states|remaining_tokens|token_metadata|texts|censored)\.npy")
_CHUNK_BYTES = 32 * 2**20
_FLOAT16_MAX = 65504.0


def _others(folder: Path) -> list[str]:
    """What a folder holds beside the files of one export; they appear together, so some alone are not of one."""
    ours = {path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink() and _is_ours(path)}
    names = {path.name for path in folder.iterdir()}
    return list(names - ours if {METADATA, "train_hidden_states.npy"} <= ours else names)


def _is_ours(path: Path) -> bool:
    return _is_metadata(path) if path.name == METADATA else bool(_ARRAY.fullmatch(path.name)) and _is_array(path)


_is_array, _is_metadata = begins(r"\x93NUMPY"), begins(r'\{\s*"(dataset_id|total_samples)": ')
NPY = OutputFolderKind("exported NumPy arrays", _others)
"""Folders of this module and of `latentext.export.saving`, which have the same files."""


def export_npy(
    dataset: Dataset,
    output: str | Path,
    *,
    decode_token: Callable[[int], str],
    sites: Sequence[str | int] | None = None,
    pool: Pool | None = None,
    split: SplitSpec | None = None,
    truncated: Truncated = "drop",
    keep: Keep | None = None,
    dtype: Literal["float32", "float16"] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write hidden states, remaining counts and tokens as NumPy files, and return what ``metadata.json`` says.

    Args:
        dataset: has the generated rows of every site, or one pooled row per text.
        output: folder to make; it appears when it is complete.
        decode_token: text of one token id.
        sites: names or Hugging Face indices; all that were captured so where left out.
        pool: the pooling, or ``none`` for every token; where left out ``none`` if it was captured, else the only one.
        split: as for `Dataset.split`; the run's own where left out. ``rows-sequential`` cuts rows, not texts.
        truncated: whether texts that were cut at the limit are left out, or kept and marked.
        keep: which texts the run's check must have passed; what the spec says where left out.
        dtype: type of the states; where left out float16 if all sites are stored so, else float32.
        overwrite: replace an earlier export; a folder with anything else in it is refused.

    Raises:
        SpecError: `output` exists already.
        DatasetError: there are no texts or the model wrote none, a site was not captured, a split is or becomes empty,
            a state does not fit into float16, or `output` is, holds or lies in a dataset or holds other files.
    """
    dataset.refuse_without_texts()
    refuse_given_texts(dataset)
    pool = pool_of_texts(dataset.captures, ("generated",), pool)
    wanted = sites or sites_with(dataset.captures, ("generated",), pool)
    views = [dataset.states(site, "generated", pool) for site in wanted]
    narrow = all(view.stored_dtype == "float16" for view in views)
    checked_folder(Path(output), NPY, overwrite=overwrite)  # Before all rows are read.
    rows = split_rows(dataset, views, split, truncated, keep)
    with output_folder(Path(output), NPY, overwrite=overwrite) as folder:
        _write_arrays(rows, folder, np.dtype(dtype or ("float16" if narrow else "float32")), decode_token, truncated)
        metadata = _metadata(rows, truncated)
        write_bytes(folder / METADATA, json.dumps(metadata, indent=2, ensure_ascii=False).encode() + b"\n")
    return metadata


@dataclass(frozen=True)
class _Files:
    """The open files of one split."""

    states: NpyWriter
    remaining: NpyWriter
    tokens: NpyWriter
    texts: NpyWriter | None
    censored: NpyWriter | None


def _write_arrays(
    rows: SplitRows, folder: Path, dtype: np.dtype[Any], decode_token: Callable[[int], str], truncated: Truncated
) -> None:
    texts = _TokenTexts(decode_token)
    with ExitStack() as stack:

        def new(name: str, dtype: npt.DTypeLike, *shape: int) -> NpyWriter:
            return stack.enter_context(NpyWriter(folder / f"{name}.npy", shape, dtype))

        width = sum(view.width for view in rows.views)
        pooled = rows.views[0].pool != "none"
        files = [
            _Files(
                new(f"{name}_hidden_states", dtype, count, width),
                new(f"{name}_remaining_tokens", "<i8", count),
                new(f"{name}_token_metadata", TOKEN_METADATA, count),
                new(f"{name}_texts", TEXTS, count) if pooled else None,
                new(f"{name}_censored", bool, count) if truncated == "keep" else None,
            )
            for name, count in rows.counts.items()
        ]
        writing = stack.enter_context(phase("writing rows", sum(rows.counts.values())))
        for shard in rows.shards():
            for chunk, states in _chunks(shard, dtype):
                for number, file in enumerate(files):
                    here = np.flatnonzero(shard.split[chunk] == number)
                    writing.moved(len(here))
                    file.states.write(states if len(here) == len(states) else states[here])
                    of_split = shard.rows[chunk][here]
                    file.remaining.write(of_split["remaining"])
                    file.tokens.write(texts.describe(of_split["token_id"]))
                    if file.texts is not None:
                        file.texts.write(of_split[list(TEXTS.names or ())].astype(TEXTS))
                    if file.censored is not None:
                        file.censored.write(rows.censored[shard.record[chunk][here]])


def _chunks(shard: SplitShard, dtype: np.dtype[Any]) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
    """States of a shard, sites side by side, a bounded number of rows at a time."""
    step = max(1, _CHUNK_BYTES // (4 * sum(view.width for view in shard.views)))
    for start in range(0, len(shard.rows), step):
        chunk = slice(start, start + step)
        if (shard.split[chunk] == LEFT_OUT).all():
            continue
        sites = [_converted(view, chunk, dtype) for view in shard.views]
        yield chunk, sites[0] if len(sites) == 1 else np.concatenate(sites, axis=1)


def _converted(view: StatesView, chunk: slice, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    states = view[chunk]
    if dtype == np.float16 and states.dtype != np.float16:
        too_large = np.isfinite(states) & (np.abs(states) > _FLOAT16_MAX)
        if too_large.any():
            what = (
                f"{view.label} has values up to {np.abs(states[too_large]).max():.6g}, float16 holds {_FLOAT16_MAX:g}"
            )
            raise DatasetError(what, remedy="export as float32")
    return states.astype(dtype, copy=False)


class _TokenTexts:
    """Texts of token ids, each decoded once."""

    def __init__(self, decode_token: Callable[[int], str]):
        self._decode, self._known = decode_token, dict[int, str]()

    def describe(self, token_ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`TOKEN_METADATA` of these ids."""
        distinct, which = np.unique(token_ids, return_inverse=True)
        for token_id in distinct.tolist():
            if token_id not in self._known:
                self._known[token_id] = self._decode(token_id)
        described = np.empty(len(token_ids), TOKEN_METADATA)
        described["token_id"] = token_ids
        described["token_text"] = np.array([self._known[i] for i in distinct.tolist()], "<U100")[which]
        return described


def _metadata(rows: SplitRows, truncated: Truncated) -> dict[str, Any]:
    spec, views = rows.dataset.spec, rows.views
    counts, words = _counts_and_words(rows)
    cut = int(rows.censored.sum())
    return {
        "dataset_id": spec.name,
        "description": spec.description,
        "model_name": rows.dataset.model_label,
        "prompt_template": spec.prompts.template or (list(spec.prompts.templates) if spec.prompts.templates else None),
        "counts_range": [min(counts), max(counts)] if counts else None,
        "words": words,
        "total_samples": rows.texts,
        "total_tokens": sum(rows.counts.values()),
        "layers_extracted": [view.site for view in views],
        "num_layers": next(iter(rows.dataset.captures.values())).num_layers,
        "extracted_layer_indices": [view.layer for view in views],
        **({"pool": views[0].pool} if views[0].pool != "none" else {}),
        "hidden_dim_per_layer": views[0].width
        if len({view.width for view in views}) == 1
        else [v.width for v in views],
        "total_hidden_dim": sum(view.width for view in views),
        "rows": dict(rows.counts),
        "split": rows.split.model_dump(),
        **{name: rows.dataset.metadata[name] for name in CORRECTNESS_FACTS if name in rows.dataset.metadata},
        "rejected_texts": {"dropped": int((~rows.kept).sum())},
        "truncated_texts": {"dropped": cut if truncated == "drop" else 0, "kept": cut if truncated == "keep" else 0},
    }


def _counts_and_words(rows: SplitRows) -> tuple[list[int], list[str]]:
    """Values of the variables `count` and `word` in the exported texts, in the order in which they first appear."""
    counts, words = dict[int, None](), dict[str, None]()
    number = 0
    for table in rows.dataset.iter_records(["variables"]):
        for text in table["variables"].to_pylist():
            if rows.split_of_record[number] != LEFT_OUT:
                variables = json.loads(text)
                if isinstance(variables.get("count"), int):
                    counts[variables["count"]] = None
                if "word" in variables:
                    words[str(variables["word"])] = None
            number += 1
    return list(counts), list(words)
