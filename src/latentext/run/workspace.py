"""A dataset directory prepared for a run: held to what made it, its plan open, its model loaded only when it is needed.

The first run settles threads, batch budget and shard size and writes them down; every later one takes them over. So a
finished dataset is recognised without loading the model, and a continued one is computed like the part that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from latentext.dataset import filesystem, layout
from latentext.dataset.atomic import sweep, write_bytes
from latentext.dataset.reader import open as open_dataset
from latentext.engines.opening import open_engine
from latentext.engines.transformers.engine import TransformersEngine, state_dtype
from latentext.engines.transformers.loading import choose_device, choose_dtype
from latentext.errors import DatasetError
from latentext.models.resolve import model_identity, resolve_model
from latentext.plan import Plan, make_plan
from latentext.prompts.tokenizer import load_tokenizer, tokenizer_fingerprint
from latentext.run.lease import FOLDER as LEASES
from latentext.run.lease import Leases, holders
from latentext.run.progress import Progress
from latentext.run.provenance import (
    Provenance,
    make_identity,
    package_versions,
    read_provenance,
    refuse_changes,
    write_provenance,
)
from latentext.spec import Spec
from latentext.spec_file import dump_spec, relative_inputs, resolve_inputs

PLAN = "plan"
_OURS = {PLAN, LEASES, layout.SPEC, layout.PROVENANCE, "status.json"}


@dataclass(frozen=True)
class Workspace:
    """One directory, one spec, and all that a stage needs."""

    root: Path
    spec: Spec
    plan: Plan
    provenance: Provenance
    leases: Leases
    state_dtype: Callable[[str], torch.dtype]
    _open_engine: Callable[[], TransformersEngine]

    @cached_property
    def engine(self) -> TransformersEngine:
        """The engine; the model is loaded on first use."""
        return self._open_engine()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides a capture's numbers beside the texts: kept in its ``stage.json``."""
        identity = self.provenance.identity
        return {name: identity[name] for name in ("model", "model.dtype", "model.attention")}


def move_aside(root: Path) -> Path | None:
    """Rename an existing directory to the first free ``NAME.old-K``; returns the new name.

    Raises:
        DatasetError: another run is at work in it.
    """
    if not root.exists():
        return None
    refuse_if_held(root)
    number = 1
    while (aside := root.with_name(f"{root.name}.old-{number}")).exists():
        number += 1
    filesystem.replace(root, aside)
    return aside


def refuse_if_held(root: Path) -> None:
    """Raise if a live run holds a lease in the directory."""
    for name, holder in holders(root).items():
        raise DatasetError(
            f"another run is at work here: {name} is held by {holder}",
            where=str(root),
            remedy="wait for it, or stop it",
            heading="Another run holds the directory",
        )


def prepare(spec: Spec, root: Path, progress: Progress, engine: TransformersEngine | None = None) -> Workspace:
    """Make or open the directory for a run of this spec.

    Args:
        spec: with input paths that are absolute or relative to the working directory.
        engine: one that is in memory already; it must be of the model that the spec names.

    Raises:
        SpecError: the directory was made with other settings.
        DatasetError: it is not a dataset directory, or it is damaged.
    """
    _refuse_foreign(root)
    before = read_provenance(root)
    device = engine.loaded.device if engine else choose_device(spec.model.device)
    source = resolve_model(spec.model.name, spec.model.revision)
    dtype = engine.loaded.dtype if engine else choose_dtype(spec.model, source, device)
    tokenizer = (
        engine.tokenizer if engine else load_tokenizer(source.path_or_id, source.revision, spec.model.trust_remote_code)
    )
    model_id = model_identity(spec.model)
    identity = make_identity(
        spec,
        model=model_id,
        tokenizer=tokenizer_fingerprint(tokenizer),
        dtype=str(dtype).removeprefix("torch."),
        device=device.type,
    )
    if before is not None:
        refuse_changes(root, before.identity, identity)
        _note_other_versions(before, progress)
        provenance = before
        torch.set_num_threads(provenance.threads)
        opener = (
            (lambda: engine)
            if engine
            else lambda: open_engine(spec.model, batch_tokens=provenance.engine["batch_tokens"])
        )
    else:
        threads = spec.model.threads or torch.get_num_threads()
        torch.set_num_threads(threads)
        loaded = engine or open_engine(spec.model)
        provenance = Provenance(
            identity=identity,
            engine={"batch_tokens": loaded.batch_tokens, "attention": loaded.loaded.attention},
            shard_size=spec.shard_size or (128 if device.type == "cpu" else 512),
            threads=threads,
            versions=package_versions(),
        )
        opener = lambda: loaded  # noqa: E731 - the other branch's counterpart
    filesystem.make_folder(root)
    leases = Leases(root)
    with leases.take("plan") as held:
        if not held:
            refuse_if_held(root)
        sweep(root)
        plan = make_plan(
            spec,
            tokenizer=tokenizer,
            model_id=model_id,
            directory=root / PLAN,
            shard_size=provenance.shard_size,
        )
        if before is None:
            write_provenance(root, provenance)
        _write_spec(root, spec, provenance)
    return Workspace(root, spec, plan, provenance, leases, lambda wanted: state_dtype(wanted, dtype), opener)


def workspace_of(root: Path, progress: Progress) -> Workspace:
    """Open a directory that a run made, with its own spec."""
    dataset = open_dataset(root)

    return prepare(resolve_inputs(dataset.spec, root), root, progress)


def _write_spec(root: Path, spec: Spec, provenance: Provenance) -> None:
    """Write the resolved spec, its paths relative to the directory so that both can be moved together."""
    resolved = spec.model_copy(update={"shard_size": provenance.shard_size, "output": None})
    text = dump_spec(relative_inputs(resolved, root.resolve())).encode()
    path = root / layout.SPEC
    if not path.exists() or path.read_bytes() != text:
        write_bytes(path, text)


def _refuse_foreign(root: Path) -> None:
    if root.is_file():
        raise DatasetError("is a file", where=str(root), remedy="choose another --output")
    if not root.is_dir():
        return
    names = {entry.name for entry in root.iterdir()}
    if names and not names & _OURS:
        raise DatasetError(
            f"holds other files ({min(names)}) and is no dataset", where=str(root), remedy="choose another --output"
        )


def _note_other_versions(before: Provenance, progress: Progress) -> None:
    now = package_versions()
    changed = [f"{n} {before.versions.get(n)} → {v}" for n, v in now.items() if before.versions.get(n) != v]
    if changed:
        progress.note(f"made with other versions ({', '.join(changed)}): new shards may differ in their last bits")
