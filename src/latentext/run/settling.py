"""What the first run of a directory settles and writes down, and every later one takes over.

Threads, batch budget, shard size and versions go into ``provenance.json``, the requests into the plan, and the spec
into ``spec.yaml``. So a finished dataset is recognised without loading the model, and a continued one is computed like
the part that is there.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from latentext.dataset import layout
from latentext.dataset.documents import read_spec
from latentext.engines.engine import Engine
from latentext.engines.opening import ModelFacts
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import DatasetError, SpecError
from latentext.models.display_names import LABEL, folder_name, model_label
from latentext.plan import Plan, make_plan
from latentext.run.progress import Progress
from latentext.run.provenance import (
    REMEDY,
    Provenance,
    completed,
    package_versions,
    read_provenance,
    refuse_changes,
    write_provenance,
)
from latentext.run.shard_size import fit_plan, said_of_change, with_asked_size
from latentext.spec import Spec
from latentext.spec.files import dump_spec, relative_inputs
from latentext.storage import filesystem
from latentext.storage.atomic import sweep, write_bytes
from latentext.storage.lease import Leases

_TAKEN_OVER = (
    "made by latentext 0.1.0, which did not record end tokens, custom code and adapters: "
    "they are recorded now, as they are, and must stay so"
)


def settle(
    spec: Spec,
    root: Path,
    leases: Leases,
    proposed: Provenance,
    identity: dict[str, Any],
    facts: ModelFacts,
    progress: Progress,
) -> tuple[Provenance, Plan]:
    """Write what all runs of the directory share, or take it over: of runs that start together, the first decides.

    Args:
        proposed: what this run would settle, were it the first.

    Raises:
        SpecError: the directory was made with other settings or prompts.
    """
    before: Provenance | None = None
    with leases.wait_for("plan"):
        if (provenance := read_provenance(root)) is not None:
            before, provenance = provenance, with_asked_size(root, provenance, spec)
            refuse_changes(root, provenance, identity, spec)
        for folder in (root, *layout.linked_folders(root)):
            sweep(folder)
        leases.sweep()
        plan = _plan(spec, root, facts, (provenance or proposed).shard_size, _version_of(provenance))
        now = _with_removed_dates(proposed, plan) if provenance is None else completed(provenance, identity)
        if now != before:
            write_provenance(root, now)
            if now != provenance and provenance is not None:
                progress.note(_TAKEN_OVER)
        # After a kill in between, the plan has the old size still.
        if (size := fit_plan(root, now.shard_size)) is not None:
            for line in said_of_change(size, now.shard_size):
                progress.note(line)
            plan = _plan(spec, root, facts, now.shard_size, _version_of(provenance))
        _write_spec(root, spec, now)
    return now, plan


def _with_removed_dates(proposed: Provenance, plan: Plan) -> Provenance:
    if not plan.removed_dates:
        return proposed
    return proposed.model_copy(update={"engine": proposed.engine | {"removed_dates": list(plan.removed_dates)}})


def _version_of(provenance: Provenance | None) -> str | None:
    """The version of latentext that began a dataset."""
    return None if provenance is None else provenance.versions.get("latentext")


def first_provenance(spec: Spec, identity: dict[str, Any], facts: ModelFacts, engine: Engine | None) -> Provenance:
    """What the first run of a directory settles for all that follow."""
    settled: dict[str, Any] = {}
    if isinstance(engine, TransformersEngine):
        settled = {"batch_tokens": engine.batch_tokens, "attention": engine.loaded.attention}
        if spec.model.batch_size is not None:
            settled["batch_size"] = spec.model.batch_size
    elif spec.model.remote:
        # The server's token ids are not known: those in the records are the local tokenizer's, of the same text.
        settled = {"retokenized": facts.tokenizer is not None}
    if (label := model_label(spec.model.name)) != folder_name(spec.model.name):
        settled[LABEL] = label
    return Provenance(
        identity=identity,
        engine=settled,
        shard_size=spec.shard_size or _shard_size(spec, facts),
        threads=spec.model.threads or torch.get_num_threads(),
        versions=package_versions(spec.model.engine),
    )


def _shard_size(spec: Spec, facts: ModelFacts) -> int:
    """Requests in a shard where the spec does not say: more for a GPU, and most for batches, which wait for hours.

    The requests of one temperature are asked together, so with several a shard holds as many of each.
    """
    several = max(1, len(spec.decoding.temperatures))
    if spec.model.engine == "openai-batch":
        return 2000 * several
    return (512 if facts.device == "cuda" and not spec.model.remote else 128) * several


def _plan(spec: Spec, root: Path, facts: ModelFacts, shard_size: int, begun_by: str | None) -> Plan:
    """Make, open or extend the plan; if it is refused because the wording changed, say which fields did."""
    try:
        return make_plan(
            spec,
            tokenizer=facts.tokenizer,
            model_id=facts.identity,
            directory=root / layout.PLAN,
            shard_size=shard_size,
            root=root,
            begun_by=begun_by,
        )
    except SpecError as error:
        if error.where != "prompts" or not (changed := _changed_prompts(spec, root)):
            raise
        what = f"this directory was made with another {' and '.join(changed)}: {error.what}"
        raise SpecError(what, where=str(root), remedy=REMEDY) from error


def _changed_prompts(spec: Spec, root: Path) -> list[str]:
    """The fields of the prompts in which a spec differs from that of the directory, if it has one."""
    if not (root / layout.SPEC).exists():
        return []
    was, now = (s.prompts.model_dump(mode="json", exclude={"limit"}) for s in (read_spec(root), spec))
    return [f"prompts.{name}" for name in now if now[name] != was[name]]


def _write_spec(root: Path, spec: Spec, provenance: Provenance) -> None:
    """Write the resolved spec, its paths relative to the directory so that both can be moved together."""
    resolved = _grown(root, spec).model_copy(update={"shard_size": provenance.shard_size, "output": None})
    text = dump_spec(relative_inputs(resolved, root.resolve())).encode()
    path = root / layout.SPEC
    with suppress(OSError):  # Missing, or nothing that can be read.
        if filesystem.read_bytes(path) == text:
            return
    write_bytes(path, text)


def _grown(root: Path, spec: Spec) -> Spec:
    """The spec with all that was ever planned here: less than before of anything that may grow removes nothing.

    Its rewards are those that are there: one becomes part of the spec when it works (`latentext.run.rewarding`).
    """
    try:
        before = read_spec(root)
    except DatasetError:  # There is none yet, or it is damaged: then this one takes its place.
        return spec.model_copy(update={"rewards": ()})
    limits = [s.prompts.limit for s in (before, spec) if s.prompts.limit is not None]
    limit = max(limits) if len(limits) == 2 else None
    return spec.model_copy(
        update={
            "prompts": spec.prompts.model_copy(update={"limit": limit}),
            "decoding": spec.decoding.model_copy(update={"n": max(before.decoding.n, spec.decoding.n)}),
            "rewards": before.rewards,
            "model": spec.model.model_copy(
                update={"trust_remote_code": spec.model.trust_remote_code or before.model.trust_remote_code}
            ),
            "check": spec.check or before.check,
        }
    )


def note_other_versions(before: Provenance, spec: Spec, progress: Progress) -> None:
    """Say which libraries have other versions than those that made what is there."""
    now = package_versions(spec.model.engine)
    changed = [f"{n} {before.versions.get(n)} → {v}" for n, v in now.items() if before.versions.get(n) != v]
    if changed:
        progress.note(f"made with other versions ({', '.join(changed)}): new shards may differ in their last bits")
