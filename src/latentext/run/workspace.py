"""A dataset directory prepared for a run: held to what made it, its plan open, its model loaded on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from latentext.dataset import layout
from latentext.dataset.stages import StatesStage, declared_stages, read_stage
from latentext.dataset.trust import refuse_model_inside
from latentext.engines.engine import Engine
from latentext.engines.opening import (
    EngineKeeper,
    ModelFacts,
    model_facts,
    open_engine,
    open_transformers,
    refuse_unsupported,
    remarks,
    required_local_model,
)
from latentext.engines.server.spend import Spend
from latentext.engines.transformers.engine import TransformersEngine, state_dtype
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model
from latentext.errors import EngineError, SpecError
from latentext.models.resolve import model_fingerprint, resolve_model
from latentext.phases import preparing
from latentext.plan import Plan, Shard
from latentext.prompts.tokenizer import tokenizer_fingerprint
from latentext.run.captures import StatesShape, shape_of_config, shape_of_layout
from latentext.run.estimate import model_config
from latentext.run.foreign import refuse_foreign
from latentext.run.length_limits import settle_length
from latentext.run.part import SomeShards
from latentext.run.progress import Progress
from latentext.run.provenance import (
    REMEDY,
    Provenance,
    make_identity,
    read_provenance,
    refuse_changes,
)
from latentext.run.settling import first_provenance, note_other_versions, settle
from latentext.run.shard_size import with_asked_size
from latentext.spec import ModelSpec, Spec
from latentext.spec.limits import Limits
from latentext.states.sites import resolve_sites
from latentext.storage import filesystem
from latentext.storage.lease import Leases, holders

PLAN = layout.PLAN
JOURNAL = "journal.sqlite"


@dataclass(frozen=True)
class Workspace:
    """One directory, one spec, and all that a stage needs."""

    root: Path
    spec: Spec
    plan: Plan
    provenance: Provenance
    leases: Leases
    facts: ModelFacts
    _open_engine: Callable[[], Engine]
    watchers: list[Progress] = field(default_factory=list)
    """Told what a remote engine spent, after every answer, and what its requests wait for."""
    part: SomeShards | None = None
    journal: Path | None = None
    """Where a remote engine keeps its answers until they are committed."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set when the run comes to an end before its time: from then on no engine is opened."""
    _opening: threading.RLock = field(default_factory=threading.RLock)

    @property
    def shards(self) -> Sequence[Shard]:
        """The shards that this run is to compute: all of the plan, or those of its part."""
        if self.part is None:
            return self.plan.shards
        return [shard for shard in self.plan.shards if shard in self.part]

    @property
    def engine(self) -> Engine:
        """The engine, with the batch budget of the first run; what it needs is loaded on first use.

        Raises:
            EngineError: the run was stopped; a thread that comes late must not begin anything.
        """
        with self._opening:
            if self.stopped.is_set():
                raise EngineError("the run was stopped")
            return self._opened_engine

    @cached_property
    def _opened_engine(self) -> Engine:
        engine = self._open_engine()
        if isinstance(engine, TransformersEngine):
            engine.batch_tokens = self.provenance.engine["batch_tokens"]
            engine.batch_size = self.provenance.engine.get("batch_size")
        return engine

    @cached_property
    def model(self) -> LoadedModel:
        """The weights in this process: what states and log-probabilities of texts that exist are read from.

        Raises:
            SpecError: the model is behind a server, and no local one is named.
        """
        if self.spec.model.engine == "transformers":
            assert isinstance(self.engine, TransformersEngine)
            return self.engine.loaded
        here = required_local_model(self.spec)
        self._refuse_other_weights(here)
        self.close_engine()  # One copy of the weights at a time is what the memory has room for.
        return load_model(here)

    @property
    def states_shape(self) -> StatesShape:
        """What a capture has to know of the model. An engine of its own is not kept waiting for weights it never
        uses."""
        if self.spec.model.engine == "transformers":
            return shape_of_layout(self.model.layout)
        here = required_local_model(self.spec)
        return shape_of_config(model_config(resolve_model(here.name, here.revision), here.trust_remote_code))

    def state_dtype(self, wanted: str) -> torch.dtype:
        """The dtype in which states are kept that a spec asks for in `wanted`."""
        if self.facts.dtype is None:
            required_local_model(self.spec)
        return state_dtype(wanted, getattr(torch, self.facts.dtype or "float32"))

    def close_engine(self) -> None:
        """Give back what the engine holds, if one was opened; it is opened again when it is needed again."""
        if (engine := self.__dict__.pop("_opened_engine", None)) is not None:
            engine.close()

    def stop_engine(self) -> None:
        """End the calls of the engine that other threads sit in, and let none begin."""
        self.stopped.set()
        with self._opening:
            self.close_engine()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides a capture's numbers beside the texts: kept in its ``stage.json``."""
        identity = self.provenance.identity
        settings = {name: identity[name] for name in ("model", "model.dtype", "model.attention")}
        if self.spec.model.remote:  # Of a server the identity has the name; states come from weights on this machine.
            settings[_LOCAL] = _weights(required_local_model(self.spec))
        return settings

    def _refuse_other_weights(self, here: ModelSpec) -> None:
        """Refuse to read states from other weights than those that the directory's captures were read from."""
        for stage in declared_stages(self.root, "states"):
            before = read_stage(self.root, stage, StatesStage).settings.get(_LOCAL)
            if before is not None and before != _weights(here):
                raise SpecError(
                    f"{stage} was read from other weights than model.local has now", where=str(self.root), remedy=REMEDY
                )


_LOCAL = "model.local"


def _weights(model: ModelSpec) -> str:
    return model_fingerprint(resolve_model(model.name, model.revision))


def prepare(
    spec: Spec,
    root: Path,
    progress: Progress,
    engine: Engine | None = None,
    *,
    limits: Limits | None = None,
    journal: Path | None = None,
    keeper: EngineKeeper | None = None,
    part: SomeShards | None = None,
) -> Workspace:
    """Make or open the directory for a run of this spec.

    Args:
        spec: with input paths that are absolute or relative to the working directory.
        engine: one that is in memory already; it must be of the model that the spec names.
        limits: what a remote engine may spend.
        journal: where a remote engine keeps its answers until they are committed; a file in the directory by default.
        keeper: opens an engine of this process, and keeps it.
        part: the shards to compute, where others compute the rest.

    Raises:
        SpecError: the directory was made with other settings, or the spec asks for what the model does not have.
        DatasetError: it is not a dataset directory, or it is damaged.
    """
    refuse_foreign(root)
    refuse_model_inside(root, spec)
    refuse_unsupported(spec.model, spec.decoding, limits)
    keeper = keeper if keeper is not None and not spec.model.remote else None
    engine = engine or (keeper.kept(spec.model) if keeper else None)
    facts = model_facts(spec.model, engine)
    spec = settle_length(spec, root, facts.tokenizer)
    identity = _identity(spec, facts)
    _refuse_missing_sites(spec)
    if (made := read_provenance(root)) is not None:
        refuse_changes(root, with_asked_size(root, made, spec), identity, spec)
        note_other_versions(made, spec, progress)
    else:
        if spec.model.engine == "transformers":
            engine = engine or (keeper.open(spec.model) if keeper else open_transformers(spec.model))
        made = first_provenance(spec, identity, facts, engine)
    new = not root.exists()
    filesystem.make_folder(root)
    leases = Leases(root)
    try:
        provenance, plan = settle(spec, root, leases, made, identity, facts, progress)
    except BaseException as error:
        leases.close()
        if new and isinstance(error, SpecError) and not holders(root):
            filesystem.remove_folder(root)  # A run that is refused leaves nothing.
        raise
    torch.set_num_threads(provenance.threads)
    loaded, watchers = engine, list[Progress]()

    def spent(spend: Spend) -> None:
        for watcher in watchers:
            watcher.spent(spend)

    def waits(line: str | None) -> None:
        for watcher in watchers:
            watcher.waits(line)

    def open_now() -> Engine:
        if loaded is not None:
            return loaded
        for remark in remarks(spec.model):
            progress.note(remark)
        if keeper is not None:
            return keeper.open(spec.model, facts.tokenizer)
        with preparing("opening the engine"):
            return open_engine(
                spec.model,
                facts.tokenizer,
                journal=journal or root / JOURNAL,
                limits=limits,
                dataset=root,
                on_spend=spent,
                on_note=progress.note,
                on_wait=waits,
            )

    place = (journal or root / JOURNAL) if spec.model.remote else None
    return Workspace(root, spec, plan, provenance, leases, facts, open_now, watchers, part, place)


def _identity(spec: Spec, facts: ModelFacts) -> dict[str, Any]:
    return make_identity(
        spec,
        model=facts.identity,
        tokenizer=None if facts.tokenizer is None else tokenizer_fingerprint(facts.tokenizer),
        dtype=facts.dtype,
        device=facts.device,
        further=facts.further,
    )


def _refuse_missing_sites(spec: Spec) -> None:
    """Refuse states that nothing on this machine gives, or sites that the model does not have."""
    if spec.states is not None:
        here = required_local_model(spec)
        config = model_config(resolve_model(here.name, here.revision), here.trust_remote_code)
        resolve_sites(spec.states.sites, config.num_hidden_layers)
