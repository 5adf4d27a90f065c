"""Records: one row per text that a model wrote, as Parquet.

The token ids are the truth of a record: hidden states, remaining counts and re-computation all start from them; `text`
is for people. Variables and messages are JSON text, because their shape differs from recipe to recipe and a column
type that depends on the rows of one shard would not survive a second shard.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from latentext.dataset.receipts import FileEntry
from latentext.dataset.tables import read_table, write_table
from latentext.errors import DatasetError
from latentext.request import Completion, Failure, Request

SPARED = "spared"
"""In the counts of a receipt: samples that were not drawn, because an earlier one of the request was accepted."""

UNCOUNTED = "uncounted"
"""In the counts of a receipt, where there are any: texts whose tokens the server did not count."""

VERIFICATION_COUNTS = ("passes", "misses", "ties", "decoded")

SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("variables", pa.string(), nullable=False),
        pa.field("messages", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("prompt_token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("logprobs", pa.list_(pa.float32())),
        pa.field("entropies", pa.list_(pa.float32())),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("verification", pa.struct([(name, pa.int32()) for name in VERIFICATION_COUNTS])),
        pa.field(
            "usage", pa.struct([("prompt_tokens", pa.int64()), ("completion_tokens", pa.int64())]), nullable=False
        ),
    ]
)
"""Columns of a records file. `variables` and `messages` are JSON text; `logprobs` and `entropies` are in nats;
`verification` is null where no text was expected. The counts of `usage` are null where a server gave none."""


def write_records(path: Path, requests: Sequence[Request], completions: Iterable[Completion]) -> FileEntry:
    """Write a shard's completions to `path`, in the order of (index, sample), with the same bytes for the same rows.

    Raises:
        DatasetError: two completions have the same index and sample, one has no request, or the numbers of tokens
            and of log-probabilities differ. Nothing is written then.
    """
    by_index = {request.index: request for request in requests}
    rows = sorted(completions, key=lambda completion: (completion.index, completion.sample))
    _check(path, by_index, rows)
    return write_table(path, pa.Table.from_pylist([_row(by_index[c.index], c) for c in rows], schema=SCHEMA))


def read_records(paths: Iterable[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Read records files one after the other into one table, all columns or some.

    Raises:
        DatasetError: a file is missing, damaged or not a records file, or there is no such column; it is named.
    """
    names = SCHEMA.names if columns is None else list(columns)
    unknown = [name for name in names if name not in SCHEMA.names]
    if unknown:
        raise DatasetError(f"records have no column {unknown[0]!r}", remedy=f"columns are: {', '.join(SCHEMA.names)}")
    schema = pa.schema([SCHEMA.field(name) for name in names])
    tables = [_as_records(path, read_table(path, names), schema) for path in paths]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def count_records(
    planned: int, requests: Iterable[Request], completions: Iterable[Completion], failures: Iterable[Failure]
) -> dict[str, int]:
    """Counts of a records receipt, which add up over shards; `planned` is requests times samples.

    `prompt_tokens` counts each prompt once a text; ``finish_reason.<reason>`` counts texts.
    """
    by_index = {request.index: request for request in requests}
    counts: Counter[str] = Counter({"planned": planned, "failed": sum(1 for _ in failures)})
    counts.update(dict.fromkeys(("accepted", "rejected", "prompt_tokens", "completion_tokens"), 0))
    for completion in completions:
        counts["accepted"] += 1
        for name, tokens in _usage(by_index[completion.index], completion).items():
            counts[name] += tokens or 0
            if name == "completion_tokens" and tokens is None:
                counts[UNCOUNTED] += 1
        counts[f"finish_reason.{completion.finish_reason}"] += 1
    return dict(sorted(counts.items()))


def _row(request: Request, completion: Completion) -> dict[str, object]:
    return {
        "index": request.index,
        "key": request.key,
        "sample": completion.sample,
        "variables": json.dumps(dict(request.variables), ensure_ascii=False),
        "messages": json.dumps([dict(message) for message in request.messages], ensure_ascii=False),
        "prompt": request.prompt,
        "prompt_token_ids": list(request.prompt_token_ids),
        "text": completion.text,
        "token_ids": list(completion.token_ids),
        "logprobs": None if completion.logprobs is None else list(completion.logprobs),
        "entropies": None if completion.entropies is None else list(completion.entropies),
        "finish_reason": completion.finish_reason,
        "verification": None if completion.verification is None else asdict(completion.verification),
        "usage": _usage(request, completion),
    }


def _usage(request: Request, completion: Completion) -> dict[str, int | None]:
    """Tokens as the server counted them, or null if it did not; those of a text written here as they are."""
    if completion.usage is not None:
        return {
            "prompt_tokens": completion.usage.prompt_tokens,
            "completion_tokens": completion.usage.completion_tokens,
        }
    if completion.served:
        return {"prompt_tokens": None, "completion_tokens": None}
    return {"prompt_tokens": len(request.prompt_token_ids), "completion_tokens": len(completion.token_ids)}


def _check(path: Path, by_index: dict[int, Request], rows: Sequence[Completion]) -> None:
    previous = None
    for completion in rows:
        place = (completion.index, completion.sample)
        if place == previous:
            raise DatasetError(f"request {place[0]} has sample {place[1]} twice", where=str(path))
        previous = place
        if completion.index not in by_index:
            raise DatasetError(f"a text for request {completion.index}, which is not in this shard", where=str(path))
        for name, values in (("logprobs", completion.logprobs), ("entropies", completion.entropies)):
            if values is not None and len(values) != len(completion.token_ids):
                what = f"request {place[0]} has {len(values)} {name} for {len(completion.token_ids)} tokens"
                raise DatasetError(what, where=str(path))


def _as_records(path: Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    try:
        return table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise DatasetError("not a records file: its columns have other types", where=str(path)) from error


def by_text(table: pa.Table) -> pa.Table:
    """The rows in the order of (index, sample)."""
    return table.take(pc.sort_indices(table, sort_keys=[("index", "ascending"), ("sample", "ascending")]))


def places_of(index: npt.NDArray[Any], sample: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(index, sample) of each text as one number, int64 [N], which orders alike."""
    return (index.astype(np.int64) << 24) | sample.astype(np.int64)


def find_places(places: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where the wanted places stand among `places`, which ascend.

    Raises:
        DatasetError: one of them is not there; the text is named.
    """
    numbers = np.searchsorted(places, wanted)
    missing = numbers == len(places)
    missing[~missing] = places[numbers[~missing]] != wanted[~missing]
    if missing.any():
        first = int(wanted[missing][0])
        what = f"states of request {first >> 24}, sample {first & 0xFFFFFF} have no record"
        raise DatasetError(what, remedy="run the same command again")
    return numbers
