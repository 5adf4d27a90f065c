"""Pairs as Parquet: one row a scenario, with the positions and ids of the differing tokens.

The column ``checks`` holds one entry for each tokenizer and form, so that positions and ids can be used without
encoding again; it is empty where the scenarios were not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from latentext.dataset.outputs import OutputKind, has_columns
from latentext.errors import SpecError
from latentext.storage.atomic import PendingFile
from latentext.studies.pairs.checks import FormCheck
from latentext.studies.pairs.jsonl import FORMS, TYPES
from latentext.studies.pairs.scenario import Scenario

_CHECK = pa.struct(
    [
        ("tokenizer", pa.string()),
        ("form", pa.string()),
        ("length", pa.int32()),
        ("position", pa.int32()),
        ("token_ids", pa.list_(pa.int32(), 2)),
        ("tokens", pa.list_(pa.string(), 2)),
    ]
)
SCHEMA = pa.schema(
    [
        ("scenario_id", pa.int64()),
        ("task", pa.string()),
        *((kind, pa.string()) for kind in TYPES),
        ("topic", pa.string()),
        ("frame", pa.string()),
        ("words", pa.list_(pa.string(), 2)),
        ("checks", pa.list_(_CHECK)),
    ]
)
"""Columns of a pairs file: frame and words are read off the texts, the rest is the scenario."""

PARQUET = OutputKind("pairs", has_columns(SCHEMA.names))
_ROWS_AT_ONCE = 8192


def write_parquet(file: PendingFile, scenarios: Iterable[Scenario]) -> int:
    """Write scenarios into an open file, one row each. Returns the number of scenarios."""
    remaining, count = iter(scenarios), 0
    with pq.ParquetWriter(file, SCHEMA) as writer:
        while rows := [_row(scenario) for scenario in islice(remaining, _ROWS_AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
            count += len(rows)
    return count


def read_parquet(path: Path) -> Iterator[Scenario]:
    """Read scenarios one by one.

    Raises:
        SpecError: the file is unreadable, is not Parquet or lacks columns; they are named.
    """
    try:
        with pq.ParquetFile(path) as file:
            if missing := [name for name in SCHEMA.names if name not in file.schema_arrow.names]:
                raise SpecError(f"has no column {missing[0]!r}", where=str(path), remedy="see docs/pairs.md")
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=SCHEMA.names):
                yield from map(_scenario, batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"cannot be read ({error})", where=str(path), remedy="give a Parquet file of pairs") from error


def _row(scenario: Scenario) -> dict[str, Any]:
    texts = [text for form in FORMS for text in scenario.texts[form]]
    return {
        "scenario_id": scenario.scenario_id,
        "task": scenario.task,
        **dict(zip(TYPES, texts, strict=True)),
        "topic": scenario.topic,
        "frame": scenario.frame,
        "words": scenario.words,
        "checks": [
            {
                "tokenizer": check.tokenizer,
                "form": check.form,
                "length": check.lengths[0],
                "position": check.positions[0],
                "token_ids": check.token_ids[0],
                "tokens": check.tokens[0],
            }
            for check in scenario.checks
        ],
    }


def _scenario(row: dict[str, Any]) -> Scenario:
    return Scenario(
        row["scenario_id"],
        row["task"],
        {form: (row[f"{form}_prompt"], row[f"{form}_counterfactual"]) for form in FORMS},
        row["topic"],
        tuple(
            FormCheck(
                check["tokenizer"],
                check["form"],
                (check["length"], check["length"]),
                (check["position"],),
                (tuple(check["token_ids"]),),
                (tuple(check["tokens"]),),
                None,
            )
            for check in row["checks"]
        ),
    )
