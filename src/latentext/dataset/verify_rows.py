"""Checking rows: records in themselves, and states against the token ids of the records they belong to.

The rows that a text's states must have are worked out here anew from the text's token ids, not by the code that wrote
them: position P-1+s predicts generated token s, of which T-1-s are still to come.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from latentext.dataset import layout
from latentext.dataset.parts import ROW_DTYPE, SAFETENSORS_NAME, open_part
from latentext.dataset.receipts import Receipt
from latentext.dataset.records import SPARED, UNCOUNTED, read_records
from latentext.dataset.stages import StatesStage, read_stage
from latentext.dataset.tables import read_table
from latentext.errors import DatasetError
from latentext.spec import Positions


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault: `path` is relative to the dataset directory, `what` says in a few words what is wrong."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


Rows = npt.NDArray[Any]

_WITH_TOKEN_IDS = ("transformers", "vllm")
"""Engines that give the ids of what they wrote; a server counts tokens that nobody else sees."""


class RowChecks:
    """Checks shard after shard; what concerns all shards together is remembered (8 bytes a request).

    Args:
        root: the dataset directory.
        bos_token_id: id of BOS; None where the tokenizer has none.
        bos_required: whether every prompt must begin with it.
    """

    def __init__(self, root: Path, bos_token_id: int | None, bos_required: bool):
        self._root, self._bos, self._bos_required = root, bos_token_id, bos_required
        self._keys: dict[str, array[int]] = {}
        self._stops: dict[str, int] = {}

    def check(self, receipt: Receipt) -> Iterator[Finding]:
        """Check the rows of a shard whose files are whole."""
        kind = receipt.stage.split("/")[0]
        try:
            if receipt.start < self._stops.get(receipt.stage, 0):
                yield Finding(_receipt_path(receipt), "its requests are also in the shard before")
            self._stops[receipt.stage] = receipt.stop
            if kind == "records":
                yield from self._check_records(receipt)
            elif kind == "states":
                yield from self._check_states(receipt)
            else:
                yield from self._check_table(receipt)
        except DatasetError as error:
            where = Path(error.where) if error.where else self._root / _receipt_path(receipt)
            yield Finding(where.relative_to(self._root).as_posix(), error.what)

    def check_keys(self) -> Iterator[Finding]:
        """Every request has a key of its own, in each range of samples."""
        for stage, keys in self._keys.items():
            if len(np.unique(np.frombuffer(keys, np.uint64))) < len(keys):
                yield Finding(stage, "two requests have the same key")

    def _check_table(self, receipt: Receipt) -> Iterator[Finding]:
        for file in receipt.files:
            rows = read_table(self._root / receipt.stage / file.name).num_rows
            if rows != file.rows:
                yield Finding(f"{receipt.stage}/{file.name}", f"{rows} rows, its receipt says {file.rows}")

    def _check_records(self, receipt: Receipt) -> Iterator[Finding]:
        path = f"{receipt.stage}/{layout.table_name(receipt.shard)}"
        table = read_records([self._root / path])
        index, sample = table["index"].to_numpy(), table["sample"].to_numpy()
        for what in (
            *_counts_that_differ(receipt, table),
            *_places_that_do_not_fit(receipt, index, sample),
            *_lengths_that_differ(table),
            *self._bos_that_is_wrong(table),
        ):
            yield Finding(path, what)
        keys: dict[int, str] = {}
        for request, key in zip(index.tolist(), table["key"].to_pylist(), strict=True):
            if keys.setdefault(request, key) != key:
                yield Finding(path, f"request {request} has two keys")
        digests = (hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys.values())
        self._keys.setdefault(receipt.stage, array("Q")).extend(int.from_bytes(digest) for digest in digests)

    def _bos_that_is_wrong(self, table: pa.Table) -> Iterator[str]:
        if self._bos is None:
            return
        prompts = zip(table["index"].to_pylist(), table["prompt_token_ids"].to_pylist(), strict=True)
        begins = {index: ids[:2] for index, ids in prompts}
        doubled = [index for index, ids in begins.items() if ids == [self._bos, self._bos]]
        missing = [index for index, ids in begins.items() if self._bos_required and ids[:1] != [self._bos]]
        if doubled:
            yield f"the prompts of {len(doubled)} requests begin with two BOS, request {doubled[0]} first"
        if missing:
            yield f"the prompts of {len(missing)} requests do not begin with BOS, request {missing[0]} first"

    def _check_states(self, receipt: Receipt) -> Iterator[Finding]:
        capture = read_stage(self._root, receipt.stage, StatesStage)
        parts = []
        for file in receipt.files:
            path = f"{receipt.stage}/{file.name}"
            part = open_part(self._root / path)
            declared = {name: (SAFETENSORS_NAME[capture.dtype], width) for name, width in capture.widths.items()}
            found = {name: (part.tensors[name].kind, part.tensors[name].shape[1]) for name in part.sites}
            if found != declared:
                yield Finding(path, f"holds {found}, {layout.STAGE} declares {declared}")
            if part.rows != file.rows:
                yield Finding(path, f"{part.rows} rows, its receipt says {file.rows}")
            parts.append((path, part.read_rows()))
        failed = {(failure.index, failure.sample) for failure in receipt.failures}
        texts = self._texts(receipt, capture)
        yield from _rows_that_do_not_fit(receipt, capture, parts, {t: texts[t] for t in texts if t not in failed})

    def _texts(self, receipt: Receipt, capture: StatesStage) -> dict[tuple[int, int], tuple[int, Rows]]:
        """Number of prompt tokens, and all token ids, of each text that the states should be of."""
        records = layout.records_folder(range(*capture.samples))
        path = self._root / records / layout.table_name(receipt.shard)
        table = read_records([path], ["index", "sample", "prompt_token_ids", "token_ids"])
        return {
            (row["index"], row["sample"]): (
                len(row["prompt_token_ids"]),
                np.array([*row["prompt_token_ids"], *row["token_ids"]], np.int64),
            )
            for row in table.to_pylist()
        }


def expected_rows(place: tuple[int, int], prompt_length: int, ids: Rows, positions: Positions) -> Rows:
    """The rows (`ROW_DTYPE`) that the states of a text must have, from its token ids (prompt and completion).

    Example:
        >>> rows = expected_rows((0, 0), 2, np.array([1, 5, 7, 2]), "generated")
        >>> rows[["position", "token_id", "remaining"]].tolist()
        [(1, 7, 1), (2, 2, 0)]
    """
    first, last = prompt_length - 1, len(ids) - 2
    where = {
        "generated": np.arange(first, last + 1),
        "prompt": np.arange(first),
        "all": np.arange(last + 1),
        "first": np.array([first]),
        "last": np.array([last]),
        "text": np.arange(len(ids)),
    }[positions]
    rows = np.empty(len(where), ROW_DTYPE)
    rows["index"], rows["sample"] = place
    rows["position"] = where
    rows["token_id"] = np.append(ids, -1)[where + 1]
    rows["remaining"] = np.where((where >= first) & (where <= last), last - where, -1)
    return rows


def _rows_that_do_not_fit(
    receipt: Receipt,
    capture: StatesStage,
    parts: list[tuple[str, Rows]],
    texts: dict[tuple[int, int], tuple[int, Rows]],
) -> Iterator[Finding]:
    positions: Positions = "last" if capture.pooled else capture.positions
    missing = dict(texts)
    for path, rows in parts:
        changes = np.diff(rows["index"], prepend=-1) | np.diff(rows["sample"], prepend=-1)
        starts = np.flatnonzero(changes)
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            place = int(rows["index"][start]), int(rows["sample"][start])
            if place not in missing:
                why = "are there twice" if place in texts else "have no record"
                yield Finding(path, f"the states of request {place[0]}, sample {place[1]} {why}")
                continue
            expected = expected_rows(place, *missing.pop(place), positions)
            if not np.array_equal(rows[start:stop], expected):
                what = f"the states of request {place[0]}, sample {place[1]} do not fit its token ids"
                yield Finding(path, f"{what}: {_difference(rows[start:stop], expected)}")
    for place, (prompt_length, ids) in missing.items():
        if len(expected_rows(place, prompt_length, ids, positions)):
            yield Finding(_receipt_path(receipt), f"no states of request {place[0]}, sample {place[1]}")


def _difference(rows: Rows, expected: Rows) -> str:
    if len(rows) != len(expected):
        return f"{len(rows)} rows instead of {len(expected)}"
    for name in ("position", "token_id", "remaining"):
        differing = np.flatnonzero(rows[name] != expected[name])
        if len(differing):
            row = differing[0]
            return f"{name} {rows[name][row]} instead of {expected[name][row]} in its row {row}"
    return "another order"


def _counts_that_differ(receipt: Receipt, table: pa.Table) -> Iterator[str]:
    counts, rows = receipt.counts, table.num_rows
    settled = sum(counts.get(name, 0) for name in ("accepted", "rejected", "failed"))
    planned = (receipt.stop - receipt.start) * len(layout.samples_of(receipt.stage)) - counts.get(SPARED, 0)
    expected = {"planned": planned, "accepted": rows, "failed": len(receipt.failures), **_tokens(receipt, table)}
    for name, number in expected.items():
        if counts.get(name) != number:
            yield f"{name} is {number}, its receipt says {counts.get(name)}"
    if sum(file.rows for file in receipt.files) != rows:
        yield f"{rows} rows, its receipt says {receipt.rows}"
    if settled != planned:
        yield f"{settled} texts are accepted, rejected or failed, {planned} were planned"


def _tokens(receipt: Receipt, table: pa.Table) -> dict[str, int]:
    """How many tokens the prompts and the texts have: by their ids, or as the server counted them where there are
    none."""
    if receipt.how.get("engine") in _WITH_TOKEN_IDS:
        lengths = {"prompt_tokens": "prompt_token_ids", "completion_tokens": "token_ids"}
        return {name: pc.sum(pc.list_value_length(table[ids])).as_py() or 0 for name, ids in lengths.items()}
    usage = table["usage"].combine_chunks()
    tokens = {name: pc.sum(usage.field(name)).as_py() or 0 for name in ("prompt_tokens", "completion_tokens")}
    uncounted = usage.field("completion_tokens").null_count
    return tokens | ({UNCOUNTED: uncounted} if uncounted else {})


def _places_that_do_not_fit(receipt: Receipt, index: Rows, sample: Rows) -> Iterator[str]:
    samples = layout.samples_of(receipt.stage)
    if ((index < receipt.start) | (index >= receipt.stop)).any():
        yield f"has requests outside {receipt.start} … {receipt.stop - 1}"
    if ((sample < samples.start) | (sample >= samples.stop)).any():
        yield f"has samples outside {samples.start} … {samples.stop - 1}"
    places = list(zip(index.tolist(), sample.tolist(), strict=True))
    if any(before >= after for before, after in pairwise(places)):
        yield "rows are twice there, or not in the order of request and sample"
    if any((failure.index, failure.sample) in set(places) for failure in receipt.failures):
        yield "a text is recorded as failed as well"


def _lengths_that_differ(table: pa.Table) -> Iterator[str]:
    tokens = pc.list_value_length(table["token_ids"])
    for name in ("logprobs", "entropies"):
        # Null where they were not asked for; all() passes over nulls, and of nothing it is null itself.
        if pc.all(pc.equal(pc.list_value_length(table[name]), tokens)).as_py() is False:
            yield f"{name} are not as many as tokens"


def _receipt_path(receipt: Receipt) -> str:
    return f"{receipt.stage}/{layout.receipt_name(receipt.shard)}"
