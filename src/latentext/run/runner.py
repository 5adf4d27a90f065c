"""Runs: the stages of a spec over the shards of its plan, in this process.

What is done is what is on disk: a shard whose receipts stand is passed over, any other is computed whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from latentext.dataset import layout
from latentext.dataset.documents import read_spec
from latentext.dataset.trust import without_code
from latentext.dataset.views import is_judged
from latentext.engines.engine import Engine
from latentext.engines.opening import EngineKeeper
from latentext.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_WITH_FAILURES,
    BudgetError,
    CredentialsError,
    EngineError,
    LatentextError,
    SpecError,
)
from latentext.finish_reasons import is_whole
from latentext.models.door import code_not_run
from latentext.run.added import AddedStage, Tallies
from latentext.run.estimate import Estimate, bound
from latentext.run.foreign import move_aside, moved_back_if_refused
from latentext.run.interrupted import RunInterrupted, left_of
from latentext.run.part import SomeShards
from latentext.run.progress import NoProgress, Progress, StatusFile
from latentext.run.provenance import read_provenance
from latentext.run.rewarding import refuse_missing, remarks_on_rewards
from latentext.run.stages import all_works, text_works
from latentext.run.views import write_run_views
from latentext.run.waiting import what_is_safe
from latentext.run.work import Work, finish_stage
from latentext.run.workspace import Workspace, prepare
from latentext.spec import Spec, StatesSpec
from latentext.spec.files import load_spec, resolve_inputs, states_of
from latentext.spec.limits import Limits
from latentext.storage.interrupts import sigterm_as_interrupt


@dataclass(frozen=True)
class RunSummary:
    """What a directory holds after a run, in texts; `tokens` and `seconds` are of this run alone."""

    directory: Path
    planned: int
    accepted: int
    rejected: int
    failed: int
    pending: int
    tokens: int
    seconds: float
    passed_over: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Shards, by stage and number, that came to nothing each time a worker began them, and why."""
    missing: int = 0
    """States and scores that texts of the dataset should have, and that failed; `failures.jsonl` says why."""
    cut: int = 0
    """Texts that were cut at the limit, whether accepted or rejected."""
    judged: bool = False
    """Whether a check or limits of length say what is accepted; else every text that was written is."""
    added: tuple[AddedStage, ...] = ()
    """What this run finished, stage by stage."""

    @property
    def exit_code(self) -> int:
        """0 when everything was made, 4 when requests, states or scores failed, 1 when a shard was passed over."""
        if self.passed_over:
            return EXIT_FAILED
        return EXIT_WITH_FAILURES if self.failed or self.missing else EXIT_DONE


def make_dataset(
    spec: Spec | Mapping[str, Any],
    output: str | Path | None = None,
    *,
    retry_failed: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
    on_plan: Callable[[Estimate], None] | None = None,
    engine: Engine | None = None,
    limits: Limits | None = None,
    journal: Path | None = None,
    keeper: EngineKeeper | None = None,
    part: SomeShards | None = None,
) -> RunSummary:
    """Make the dataset of a spec, or continue it.

    Args:
        spec: what to make, as an object or as the mapping that a YAML file would hold. Relative input paths are
            taken from the working directory.
        output: the directory; otherwise the spec's `output`, otherwise ``data/<name>``.
        retry_failed: open the shards that have failures again, and keep what they hold.
        fresh: move an existing directory aside first.
        progress: who is told; nobody by default.
        on_plan: told what the run will make before it starts.
        engine: a loaded engine of the spec's model, to spare loading it again; it is not closed.
        limits: what the requests to a server may cost.
        journal: where answers of a server are kept until they are committed, on a disk of this machine; by default a
            file in the dataset directory.
        keeper: keeps the engine open for the next dataset of the same model.
        part: compute only these shards (see `latentext.run.part`); other runs of the same spec compute the rest.

    Raises:
        LatentextError: see `latentext.errors`; what is finished stays finished.

    Example:
        >>> spec = Spec(prompts={"template": "Say {w}.", "grid": {"w": ["a", "b"]}})       # doctest: +SKIP
        >>> make_dataset(spec, "data/say").accepted                                        # doctest: +SKIP
        2
    """
    spec = spec if isinstance(spec, Spec) else load_spec(spec)
    root = directory_of(spec, output)
    progress = progress or NoProgress()
    with as_a_guest():
        refuse_missing(spec.rewards, root)
        aside = move_aside(root) if fresh else None
        with moved_back_if_refused(aside, root):
            workspace = prepare(spec, root, progress, engine, limits=limits, journal=journal, keeper=keeper, part=part)
        if aside is not None:
            progress.note(f"the earlier dataset is now {aside}")
        for line in remarks_on_rewards(root, workspace.spec):
            progress.note(line)
        if on_plan is not None:
            on_plan(bound(workspace.spec, workspace.plan))
        own_engine = engine is None and (keeper is None or spec.model.remote)
        return _run(workspace, all_works(workspace, retry_failed), progress, own_engine=own_engine)


def capture_states(
    directory: str | Path,
    states: StatesSpec | Mapping[str, Any],
    *,
    retry_failed: bool = False,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> RunSummary:
    """Add states to the texts of a dataset, without generating anything again; arguments as `make_dataset`.

    Args:
        states: which states, as an object or as a mapping such as ``{"sites": [8], "pool": "mean"}``.
        trust_remote_code: let the model's own Python code run where the dataset's spec asks for it.

    Raises:
        SpecError: a site that the model does not have.
    """
    progress, wanted = progress or NoProgress(), states_of(states)
    with as_a_guest():
        root = Path(directory)
        workspace = prepare(_own_spec(root, trust_remote_code), root, progress, engine)
        _refuse_without_texts(workspace)
        works = text_works(workspace, wanted, retry_failed, generate=False)
        return _run(workspace, works, progress, own_engine=engine is None)


def score_texts(
    directory: str | Path,
    rewards: Sequence[str | Mapping[str, Any]] = (),
    *,
    retry_failed: bool = False,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> RunSummary:
    """Score the texts of a dataset by these rewards and those that it has, and by its check; nothing is generated.

    A reward that works becomes part of the dataset's spec, so texts that are added later are scored too. Python code
    runs only for rewards that are named here: those that the dataset has are passed over where they need some.

    Args:
        rewards: entries as in a spec's `rewards`; relative paths are taken from the working directory.
        retry_failed: score again where a text got no number.
        trust_remote_code: let the model's own Python code run where the dataset's spec asks for it.

    Raises:
        SpecError: an unknown reward, or one whose model or function is missing.
    """
    progress = progress or NoProgress()
    with as_a_guest():
        root = Path(directory)
        spec = resolve_inputs(_own_spec(root, trust_remote_code).model_copy(update={"rewards": tuple(rewards)}), Path())
        refuse_missing(spec.rewards, root)
        workspace = prepare(spec, root, progress, engine)
        _refuse_without_texts(workspace)
        for line in remarks_on_rewards(root, spec):
            progress.note(line)
        works = all_works(workspace, retry_failed, generate=False)
        return _run(workspace, works, progress, own_engine=engine is None)


def _own_spec(root: Path, trust_remote_code: bool) -> Spec:
    """The spec of a dataset that is to be added to; a model's own code is off in it unless a person allows it.

    Raises:
        SpecError: nobody does, and the dataset was made by such code.
    """
    spec = read_spec(root)
    if trust_remote_code or not spec.model.trust_remote_code:
        return spec
    if (made := read_provenance(root)) is not None and made.identity.get("model.code") is not None:
        raise code_not_run(spec.model.name)
    return without_code(spec)


def _refuse_without_texts(workspace: Workspace) -> None:
    if not layout.list_stages(workspace.root, "records"):
        workspace.leases.close()
        raise SpecError("has no texts yet", where=str(workspace.root), remedy="run its spec first")


def _run(workspace: Workspace, works: Iterator[Work], progress: Progress, *, own_engine: bool) -> RunSummary:
    started, tokens, work = time.monotonic(), 0, None
    progress = StatusFile(progress, workspace.root)
    tallies = Tallies(workspace.root)
    counting = threading.Lock()  # Shards may be computed side by side.
    workspace.watchers.append(progress)

    def count(texts: int, new_tokens: int, under_way: int = 0) -> None:
        nonlocal tokens
        with counting:
            tokens += new_tokens
            if under_way:  # First: what is said in between must not count a finished text twice.
                progress.writing(under_way)
            if texts or new_tokens or not under_way:
                progress.advance(texts, new_tokens)

    try:
        for work in works:
            try:
                finish_stage(workspace, tallies.noting(work), progress, count)
            except (SpecError, CredentialsError, EngineError) as error:
                if work.asked:
                    raise
                progress.note(f"{work.description}: not made: {error}")
        metadata = write_run_views(workspace)
    except BaseException as error:
        progress.failed(error)
        workspace.leases.give_back()
        # The views are for readers of the unfinished dataset; if they cannot be written, the first error still counts.
        with suppress(LatentextError):
            counts = write_run_views(workspace)["counts"]
            if workspace.journal is not None and isinstance(error, LatentextError):
                texts = counts["accepted"] + counts["rejected"]
                goes_on = isinstance(error, (EngineError, BudgetError))
                progress.note(what_is_safe(workspace.journal, texts, counts["planned"], goes_on=goes_on))
        if isinstance(error, KeyboardInterrupt) and work is not None:
            raise RunInterrupted(left_of(workspace, work, progress.tally)) from error
        raise
    finally:
        progress.finish()
        if own_engine:
            workspace.close_engine()
        workspace.leases.close()
    summary = summary_of(workspace.root, metadata, tokens, time.monotonic() - started)
    return replace(summary, added=tallies.added(metadata))


def directory_of(spec: Spec, output: str | Path | None) -> Path:
    """Where the dataset of a spec goes."""
    return Path(output or spec.output or Path("data") / spec.name)


def summary_of(
    root: Path,
    metadata: Mapping[str, Any],
    tokens: int,
    seconds: float,
    passed_over: Mapping[tuple[str, int], str] | None = None,
) -> RunSummary:
    """The summary of a run from the metadata that it wrote."""
    counts = metadata["counts"]
    return RunSummary(
        directory=root,
        **{name: counts[name] for name in ("planned", "accepted", "rejected", "failed", "pending")},
        tokens=tokens,
        seconds=seconds,
        passed_over=passed_over or {},
        cut=sum(count for word, count in metadata["finish_reasons"].items() if not is_whole(word)),
        judged=is_judged(root, read_spec(root)),
        missing=sum(
            sum(stage.get("failure_reasons", {}).values())
            for kind in ("states", "scores")
            for stage in metadata[kind].values()
        ),
    )


@contextmanager
def as_a_guest() -> Iterator[None]:
    """Run in a process that may have other work: its number of threads and its handling of SIGTERM are given back.

    Meanwhile SIGTERM (a scheduler's way to stop a job) ends the run as Ctrl-C does: cleanly, resumable.
    """
    threads = torch.get_num_threads()
    with sigterm_as_interrupt():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
