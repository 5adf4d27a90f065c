"""Several directories that were made apart from one spec, put together into the one that a single run would have made.

All parts cut the same plan, so a shard has the same number, name and bytes wherever it was computed: merging is copying
what is committed, receipts last. A merge that is killed is continued by the same command; directories that disagree
about a shard are refused, never mixed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.documents import read_spec, unreadable
from latentext.dataset.receipts import Receipt, committed
from latentext.dataset.sealed import read_sealed
from latentext.dataset.views import write_views
from latentext.errors import DatasetError, SpecError
from latentext.models.display_names import LABEL
from latentext.plan.note import PlanNote
from latentext.run.foreign import refuse_foreign
from latentext.run.provenance import Provenance, differing_facts, read_provenance
from latentext.run.workspace import PLAN
from latentext.spec.files import dump_spec, relative_inputs, resolve_inputs
from latentext.storage import filesystem
from latentext.storage.atomic import atomic_file, sweep, write_bytes
from latentext.storage.lease import Leases

_PIECE = 1 << 22


def merge_parts(parts: Sequence[Path], output: Path) -> dict[str, int]:
    """Copy the committed shards of all parts into `output`, which may be new, one of an earlier merge, or a part.

    Returns:
        The counts of the merged dataset; `pending` is above 0 where no part had a shard.

    Raises:
        DatasetError: a part is no dataset, or two hold a shard with different content.
        SpecError: parts were made by different runs; the fields that differ are named.
    """
    if not parts:
        raise SpecError("nothing to merge", remedy="name the directories that were made apart")
    notes = [_note(part) for part in parts]
    provenances = [_provenance(part) for part in parts]
    for part, note, provenance in zip(parts[1:], notes[1:], provenances[1:], strict=True):
        _refuse_another_run(part, note, provenance, parts[0], notes[0], provenances[0])
    refuse_foreign(output)
    filesystem.make_folder(output)
    with closing(Leases(output)) as leases, leases.wait_for("plan"):
        sweep(output)
        _copy_plan(parts[0], output, notes[0], provenances[0])
        for part in parts:
            if part.resolve() != output.resolve():
                _copy_stages(part, output)
        counts: dict[str, int] = write_views(output, read_spec(output), requests=notes[0].planned)["counts"]
    return counts


def _note(part: Path) -> PlanNote:
    note = PlanNote.read(part / PLAN) if part.is_dir() else None
    if note is None:
        raise DatasetError("is no dataset directory, or was never planned", where=str(part), remedy="leave it out")
    return note


def _provenance(part: Path) -> Provenance:
    if (provenance := read_provenance(part)) is None:
        raise DatasetError("has no provenance.json", where=str(part), remedy="leave it out")
    return provenance


def _refuse_another_run(
    part: Path, note: PlanNote, provenance: Provenance, first: Path, first_note: PlanNote, first_provenance: Provenance
) -> None:
    theirs, ours = _facts(part, note, provenance), _facts(first, first_note, first_provenance)
    if note.rows_sha256 and first_note.rows_sha256:  # A plan of 0.1.0 has none: then the prompts alone are compared.
        theirs["the prompts' columns"], ours["the prompts' columns"] = note.rows_sha256, first_note.rows_sha256
    if differing := differing_facts(ours, theirs):
        raise SpecError(
            f"made by another run than {first}: {', '.join(differing)} differ",
            where=str(part),
            remedy="merge only what one spec made, with the same settings",
        )


def _facts(part: Path, note: PlanNote, provenance: Provenance) -> dict[str, Any]:
    """What parts must share. Where models and inputs lie is no part of it: what they hold is, by its hash. Nor are
    rewards: a part that had nothing to score names none."""
    return {
        **read_spec(part).model_dump(mode="json", exclude={"prompts", "model", "output", "rewards"}),
        "prompts": note.source,
        "requests": note.planned,
        "shard_size": note.shard_size,
        "segments": note.segments,
        "threads": provenance.threads,
        **provenance.identity,
        **{f"engine.{name}": value for name, value in provenance.engine.items() if name != LABEL},
    }


def _copy_plan(first: Path, output: Path, note: PlanNote, provenance: Provenance) -> None:
    if first.resolve() == output.resolve():
        return
    if (there := PlanNote.read(output / PLAN)) is not None:
        _refuse_another_run(output, there, _provenance(output), first, note, provenance)
        return
    filesystem.make_folder(output / PLAN)
    # The note of the plan, written last, is what says that all before it is there.
    names = sorted((path.name for path in (first / PLAN).iterdir() if path.is_file()), key=lambda n: n == "plan.json")
    _copy(first / layout.PROVENANCE, output / layout.PROVENANCE)
    moved = relative_inputs(resolve_inputs(read_spec(first), first), output.resolve())
    write_bytes(output / layout.SPEC, dump_spec(moved).encode())
    for name in names:
        _copy(first / PLAN / name, output / PLAN / name)


def _copy_stages(part: Path, output: Path) -> None:
    for stage in layout.list_stages(part):
        filesystem.make_folder(output / stage)
        if (part / stage / layout.STAGE).exists():
            _copy_same(part / stage / layout.STAGE, output / stage / layout.STAGE)
        for number in layout.list_shards(part, stage):
            receipt = committed(part, stage, number)
            if receipt is not None:
                _copy_shard(part, output, receipt)


def _copy_shard(part: Path, output: Path, receipt: Receipt) -> None:
    there = committed(output, receipt.stage, receipt.shard)
    if there is not None:
        if there != receipt:
            what = f"{receipt.stage}, shard {receipt.shard} has other content than the same shard in {output}"
            raise DatasetError(
                what, where=str(part), remedy="delete the one that is not wanted; see `latentext verify`"
            )
        return
    for file in receipt.files:
        _copy(part / receipt.stage / file.name, output / receipt.stage / file.name)
    name = layout.receipt_name(receipt.shard)
    _copy(part / receipt.stage / name, output / receipt.stage / name)


def _copy_same(source: Path, target: Path) -> None:
    if not target.exists():
        _copy(source, target)
    elif read_sealed(source) != read_sealed(target):
        raise DatasetError(f"differs from {target}", where=str(source), remedy="merge only what one spec made")


def _copy(source: Path, target: Path) -> None:
    try:
        read = filesystem.open_regular(source)
    except OSError as error:
        raise unreadable(source, error, "run the part again, or leave it out") from error
    with read, atomic_file(target) as written:
        shutil.copyfileobj(read, written, _PIECE)
