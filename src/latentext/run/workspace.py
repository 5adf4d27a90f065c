"""A dataset directory prepared for a run: held to what made it, its plan open, its model loaded only when it is needed.

The first run settles threads, batch budget and shard size and writes them down; every later one takes them over. So a
finished dataset is recognised without loading the model, and a continued one is computed like the part that is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from latentext.dataset import filesystem, layout
from latentext.dataset.atomic import sweep, write_bytes
from latentext.dataset.documents import read_spec
from latentext.dataset.stages import StatesStage, declared_stages, read_stage
from latentext.dataset.trust import refuse_model_inside
from latentext.engines.engine import Engine
from latentext.engines.openai.spend import Spend
from latentext.engines.opening import (
    EngineKeeper,
    ModelFacts,
    local_model,
    model_facts,
    open_engine,
    open_transformers,
    refuse_unsupported,
    remarks,
)
from latentext.engines.transformers.engine import TransformersEngine, state_dtype
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model
from latentext.errors import DatasetError, EngineError, SpecError
from latentext.limits import Limits
from latentext.models.resolve import model_fingerprint, resolve_model
from latentext.plan import Plan, Shard, make_plan
from latentext.prompts.tokenizer import tokenizer_fingerprint
from latentext.run.captures import StatesShape, shape_of_config, shape_of_layout
from latentext.run.estimate import model_config
from latentext.run.foreign import refuse_foreign
from latentext.run.lease import Leases, holders
from latentext.run.length_limits import settle_length
from latentext.run.part import SomeShards
from latentext.run.progress import Progress
from latentext.run.provenance import (
    REMEDY,
    Provenance,
    completed,
    make_identity,
    package_versions,
    read_provenance,
    refuse_changes,
    write_provenance,
)
from latentext.spec import ModelSpec, Spec
from latentext.spec_file import dump_spec, relative_inputs
from latentext.states.sites import resolve_sites

PLAN = layout.PLAN
JOURNAL = "journal.sqlite"
_TAKEN_OVER = (
    "made by latentext 0.1.0, which did not record end tokens, custom code and adapters: "
    "they are recorded now, as they are, and must stay so"
)


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
    spend_watchers: list[Callable[[Spend], None]] = field(default_factory=list)
    """Told what a remote engine spent, after every answer."""
    part: SomeShards | None = None
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


def required_local_model(spec: Spec) -> ModelSpec:
    """The model of a spec that is on this machine.

    Raises:
        SpecError: there is none.
    """
    if (here := local_model(spec.model)) is None:
        raise SpecError(
            f"the model {spec.model.name} is behind a server, which gives no states",
            where="model",
            remedy="name the same model on this machine as model.local, or do without states (--set states=null)",
        )
    return here


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
    identity = make_identity(
        spec,
        model=facts.identity,
        tokenizer=None if facts.tokenizer is None else tokenizer_fingerprint(facts.tokenizer),
        dtype=facts.dtype,
        device=facts.device,
        further=facts.further,
    )
    if spec.states is not None:
        here = required_local_model(spec)
        config = model_config(resolve_model(here.name, here.revision), here.trust_remote_code)
        resolve_sites(spec.states.sites, config.num_hidden_layers)
    if (made := read_provenance(root)) is not None:
        refuse_changes(root, made, identity, spec)
        _note_other_versions(made, spec, progress)
    else:
        if spec.model.engine == "transformers":
            engine = engine or (keeper.open(spec.model) if keeper else open_transformers(spec.model))
        made = _first_provenance(spec, identity, facts, engine)
    new = not root.exists()
    filesystem.make_folder(root)
    leases = Leases(root)
    try:
        provenance, plan = _settle(spec, root, leases, made, identity, facts, progress)
    except BaseException as error:
        leases.close()
        if new and isinstance(error, SpecError) and not holders(root):
            filesystem.remove_folder(root)  # A run that is refused leaves nothing.
        raise
    torch.set_num_threads(provenance.threads)
    loaded, watchers = engine, list[Callable[[Spend], None]]()

    def tell(spend: Spend) -> None:
        for watcher in watchers:
            watcher(spend)

    def open_now() -> Engine:
        if loaded is not None:
            return loaded
        for remark in remarks(spec.model):
            progress.note(remark)
        if keeper is not None:
            return keeper.open(spec.model, facts.tokenizer)
        place = journal or root / JOURNAL
        return open_engine(
            spec.model,
            facts.tokenizer,
            journal=place,
            limits=limits,
            dataset=root,
            on_spend=tell,
            on_note=progress.note,
        )

    return Workspace(root, spec, plan, provenance, leases, facts, open_now, watchers, part)


def _settle(
    spec: Spec,
    root: Path,
    leases: Leases,
    proposed: Provenance,
    identity: dict[str, Any],
    facts: ModelFacts,
    progress: Progress,
) -> tuple[Provenance, Plan]:
    """Write what all runs of the directory share, or take it over: of runs that start together, the first decides."""
    with leases.wait_for("plan"):
        if (provenance := read_provenance(root)) is not None:
            refuse_changes(root, provenance, identity, spec)
        for folder in (root, *layout.linked_folders(root)):
            sweep(folder)
        leases.sweep()
        plan = _plan(spec, root, facts, (provenance or proposed).shard_size, _version_of(provenance))
        now = _with_removed_dates(proposed, plan) if provenance is None else completed(provenance, identity)
        if now != provenance:
            write_provenance(root, now)
            if provenance is not None:
                progress.note(_TAKEN_OVER)
        _write_spec(root, spec, now)
    return now, plan


def _with_removed_dates(proposed: Provenance, plan: Plan) -> Provenance:
    if not plan.removed_dates:
        return proposed
    return proposed.model_copy(update={"engine": proposed.engine | {"removed_dates": list(plan.removed_dates)}})


def _version_of(provenance: Provenance | None) -> str | None:
    """The version of latentext that began a dataset."""
    return None if provenance is None else provenance.versions.get("latentext")


def _first_provenance(spec: Spec, identity: dict[str, Any], facts: ModelFacts, engine: Engine | None) -> Provenance:
    """What the first run of a directory settles for all that follow."""
    settled: dict[str, Any] = {}
    if isinstance(engine, TransformersEngine):
        settled = {"batch_tokens": engine.batch_tokens, "attention": engine.loaded.attention}
        if spec.model.batch_size is not None:
            settled["batch_size"] = spec.model.batch_size
    elif spec.model.remote:
        # The server's token ids are not known: those in the records are the local tokenizer's, of the same text.
        settled = {"retokenized": facts.tokenizer is not None}
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
            directory=root / PLAN,
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


def _note_other_versions(before: Provenance, spec: Spec, progress: Progress) -> None:
    now = package_versions(spec.model.engine)
    changed = [f"{n} {before.versions.get(n)} → {v}" for n, v in now.items() if before.versions.get(n) != v]
    if changed:
        progress.note(f"made with other versions ({', '.join(changed)}): new shards may differ in their last bits")
