"""Another shard size for a directory in which nothing is finished yet.

Finished shards fix the size: their receipts say which requests they hold. Before the first, any size is as good as
another, and somebody whose first shard never ended wants a smaller one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from latentext.dataset import layout
from latentext.plan.note import PlanNote
from latentext.run.provenance import Provenance
from latentext.spec import Spec
from latentext.storage.lease import holders


def with_asked_size(root: Path, made: Provenance, spec: Spec) -> Provenance:
    """What the directory settled, with the shard size that the spec asks for if it may still change.

    It may not while another run computes a shard, and not where batches of a server may be under way, which are sent
    shard by shard.
    """
    if spec.shard_size in (None, made.shard_size) or spec.model.engine == "openai-batch":
        return made
    at_work = any(name.startswith(layout.KINDS) for name in holders(root))
    if at_work or is_anything_made(root):
        return made
    return made.model_copy(update={"shard_size": spec.shard_size})


def fit_plan(root: Path, shard_size: int) -> int | None:
    """Give a plan of which nothing is finished this shard size; returns the one that it had, None if it fits."""
    note = PlanNote.read(root / layout.PLAN)
    if note is None or note.shard_size == shard_size or is_anything_made(root):
        return None
    replace(note, shard_size=shard_size).write(root / layout.PLAN)
    return note.shard_size


def size_of_plan(root: Path) -> int | None:
    """Requests per shard of the plan that is there; None where there is none."""
    note = PlanNote.read(root / layout.PLAN)
    return None if note is None else note.shard_size


def said_of_change(before: int | None, now: int | None) -> list[str]:
    """What a person reads when the size of a plan has changed."""
    if before in (None, now) or now is None:
        return []
    return [f"nothing is finished here yet: shards now have {now:,} requests instead of {before:,}"]


def is_anything_made(root: Path) -> bool:
    """Whether a shard of any stage is finished."""
    return any(layout.list_shards(root, stage) for stage in layout.list_stages(root))
