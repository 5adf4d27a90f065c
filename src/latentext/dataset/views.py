"""The views of a dataset: metadata.json, failures.jsonl and README.md, derived from what is on the disk.

Receipts are the truth; these files only say it in a form that people and scripts can read. They are written again
from nothing each time, shard after shard in order, so that the same directory gives the same bytes whatever was
interrupted on the way. `verify` derives them once more and compares.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.card import render_card
from latentext.dataset.checks import check_stages
from latentext.dataset.correctness import correctness_facts
from latentext.dataset.documents import read_json
from latentext.dataset.receipts import Receipt, check_shard, sha256_of
from latentext.dataset.records import UNCOUNTED
from latentext.dataset.stages import ScoresStage, StatesStage, declared_stages, read_stage
from latentext.models.display_names import recorded_label
from latentext.spec import Spec
from latentext.storage.atomic import atomic_file


def write_views(root: Path, spec: Spec, *, requests: int, licence: str | None = None) -> dict[str, Any]:
    """Write the three views and return the metadata.

    Args:
        root: the dataset directory; its spec.yaml and provenance.json are already there.
        spec: the resolved spec.
        requests: number of requests in the plan.
        licence: of the data, where its maker names one; it is never assumed.
    """
    for name, content in derive_views(root, spec, requests=requests, licence=licence).items():
        with atomic_file(root / name) as file:
            for piece in content:
                file.write(piece)
    return read_json(root / layout.METADATA)


def derive_views(root: Path, spec: Spec, *, requests: int, licence: str | None = None) -> dict[str, Iterable[bytes]]:
    """The content of each view as the directory stands, in pieces; arguments as `write_views`."""
    metadata = derive_metadata(root, spec, requests=requests, licence=licence)
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False)
    return {
        layout.FAILURES: failure_lines(root),
        layout.README: [render_card(metadata, spec, _captures(root), begun_by_first=_begun_by_first(root)).encode()],
        layout.METADATA: [text.encode(), b"\n"],
    }


def _begun_by_first(root: Path) -> bool:
    versions = read_json(root / layout.PROVENANCE).get("versions")
    return isinstance(versions, dict) and str(versions.get("latentext")).startswith("0.1.")


def _captures(root: Path) -> dict[str, StatesStage]:
    return {stage.split("/")[1]: read_stage(root, stage, StatesStage) for stage in declared_stages(root, "states")}


def failure_lines(root: Path) -> Iterator[bytes]:
    """The lines of failures.jsonl: every failure that a receipt records, stage by stage, in the order of requests."""
    for stage in layout.list_stages(root):
        for receipt in believed_receipts(root, stage):
            for failure in receipt.failures:
                line = {"stage": stage, **failure.model_dump()}
                yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def believed_receipts(root: Path, stage: str) -> Iterator[Receipt]:
    """Receipts of the finished shards of a stage, in order; a shard whose receipt is not believed is not finished."""
    for number in layout.list_shards(root, stage):
        found = check_shard(root, stage, number)
        if isinstance(found, Receipt):
            yield found


def derive_metadata(root: Path, spec: Spec, *, requests: int, licence: str | None = None) -> dict[str, Any]:
    """What metadata.json says of the directory as it stands.

    ``counts`` is in texts (`planned` = `accepted` + `rejected` + `failed` + `pending`) beside `requests`. Where the
    spec has a check or limits of length, their verdicts say what is accepted and rejected, and a text without one is
    pending.
    """
    records = _sum(root, layout.list_stages(root, "records"))
    checked = _sum(root, check_stages(root, spec)) if is_judged(root, spec) else None
    # Where samples are drawn until one is accepted, a request is one text: the accepted one.
    counts = _counts(requests * (1 if spec.retries else spec.decoding.n), records, checked)
    prefix = "finish_reason."
    return {
        "format_version": layout.FORMAT_VERSION,
        "dataset_id": spec.name,
        "description": spec.description,
        "model_name": recorded_label(spec.model.name, read_json(root / layout.PROVENANCE)),
        "licence": licence,
        "counts": {"requests": requests, **counts},
        **(correctness_facts(spec, counts, checked.counts) if spec.check is not None and checked is not None else {}),
        "tokens": _tokens(records.counts),
        "finish_reasons": {
            name.removeprefix(prefix): records.counts[name]
            for name in sorted(records.counts)
            if name.startswith(prefix)
        },
        "failure_reasons": dict(sorted(records.reasons.items())),
        "states": {stage.split("/")[1]: _states(root, stage) for stage in declared_stages(root, "states")},
        "scores": {stage.split("/")[1]: _scores(root, stage) for stage in declared_stages(root, "scores")},
        "pairs": {},  # A stage that no version wrote; the key stays, for readers of metadata.json.
        "sha256": {name: sha256_of(root / name) for name in layout.files_beside_data(root)},
    }


def is_judged(root: Path, spec: Spec) -> bool:
    """Whether verdicts say what is accepted: those of a check, or of limits of length. Version 0.1.0 counted limits of
    length with `retry` alone, and its datasets go on so."""
    return spec.check is not None or spec.retries or (spec.length is not None and not _begun_by_first(root))


def _tokens(counts: Counter[str]) -> dict[str, int]:
    """Tokens of prompts and of texts; with the number of texts that a server did not count, where there are any."""
    tokens = {name: counts[f"{name}_tokens"] for name in ("prompt", "completion")}
    return tokens | ({UNCOUNTED: counts[UNCOUNTED]} if counts[UNCOUNTED] else {})


@dataclass
class _Totals:
    """Sums over the receipts of a stage."""

    shards: int = 0
    rows: int = 0
    size: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, receipt: Receipt) -> None:
        self.shards += 1
        self.rows += receipt.rows
        self.size += sum(file.size for file in receipt.files)
        self.counts.update(receipt.counts)
        self.reasons.update(failure.reason for failure in receipt.failures)

    @property
    def facts(self) -> dict[str, Any]:
        failures = {"failure_reasons": dict(sorted(self.reasons.items()))} if self.reasons else {}
        return {"shards": self.shards, "rows": self.rows, "bytes": self.size, **failures}


def _sum(root: Path, stages: Iterable[str]) -> _Totals:
    totals = _Totals()
    for stage in stages:
        for receipt in believed_receipts(root, stage):
            totals.add(receipt)
    return totals


def _counts(planned: int, records: _Totals, checked: _Totals | None) -> dict[str, int]:
    """What became of the planned texts; a text that could not be judged has failed."""
    judged = records if checked is None else checked
    failed = records.counts["failed"] + (0 if checked is None else checked.counts["failed"])
    settled = {"accepted": judged.counts["accepted"], "rejected": judged.counts["rejected"], "failed": failed}
    return {"planned": planned, **settled, "pending": planned - sum(settled.values())}


def _states(root: Path, stage: str) -> dict[str, Any]:
    declared = read_stage(root, stage, StatesStage)
    named = declared.model_dump(
        mode="json", include={"samples", "sites", "positions", "pool", "dtype", "how", "widths"}
    )
    return {**named, **_sum(root, [stage]).facts}


def _scores(root: Path, stage: str) -> dict[str, Any]:
    declared = read_stage(root, stage, ScoresStage)
    named = declared.model_dump(mode="json", include={"reward", "samples", "columns", "settings"})
    return {**named, **_sum(root, [stage]).facts}
