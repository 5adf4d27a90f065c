"""Stages as the runner sees them, and the walk of one run over the shards of a stage.

A stage says which shards are done and how to compute one; nothing here knows what is computed. Runs that share a
directory take the shards that no other holds, and wait at the end for those that are held. An engine that works best
with several shards at once gets each from a thread of its own; every shard is committed by itself all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from latentext.dataset.receipts import Receipt
from latentext.errors import EngineError
from latentext.plan import Shard
from latentext.run.progress import Progress
from latentext.run.under_way import Advance
from latentext.run.workspace import Workspace
from latentext.storage.lease import holders

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Work:
    """One stage as the runner sees it: what to say, which shards are done, how to compute one."""

    name: str
    description: str
    texts_per_request: int
    done: Callable[[Shard], Receipt | None]
    compute: Callable[[Shard, Advance], Receipt]
    ready: Callable[[Shard], bool] = lambda shard: True
    """Whether what a shard is computed from is there; if not, the shard is left to a later run."""
    shards_in_flight: Callable[[], int] = lambda: 1
    """How many shards may be computed at once; asked only when there is something to do."""
    asked: bool = True
    """Whether a person asked for it now; else it may fail, and the run goes on without it."""
    remark: Callable[[], str | None] = lambda: None
    """What a person should know before it begins; asked only when there is something to do."""

    def lease(self, shard: Shard) -> str:
        """Name of the lease that keeps other runs from the shard."""
        return f"{self.name}/{shard.number:05d}"


def shards_to_do(workspace: Workspace, work: Work) -> list[Shard]:
    """The shards of this run that are neither committed nor waiting for an earlier stage."""
    return [shard for shard in workspace.shards if work.done(shard) is None and work.ready(shard)]


def texts_of(work: Work, shards: Iterable[Shard]) -> int:
    """How many texts these shards are."""
    return sum(map(len, shards)) * work.texts_per_request


def finish_stage(workspace: Workspace, work: Work, progress: Progress, advance: Advance) -> None:
    """Compute all shards of a stage that nobody else does; wait for those that somebody does."""
    waiting = shards_to_do(workspace, work)
    if not waiting:
        return
    total, left = (texts_of(work, shards) for shards in (workspace.shards, waiting))
    if (remark := work.remark()) is not None:
        progress.note(remark)
    progress.start(total, total - left, work.description)
    said = False
    most = work.shards_in_flight()
    while waiting:
        held = _pass_over(workspace, work, waiting, advance, most)
        if held == waiting:
            if not said:
                progress.note(_waiting(workspace, work, held))
                said = True
            time.sleep(_POLL_SECONDS)
        waiting = held


def _pass_over(workspace: Workspace, work: Work, shards: list[Shard], advance: Advance, most: int) -> list[Shard]:
    """Compute those shards that nobody holds, `most` at a time; returns the others."""
    if most == 1:
        return [shard for shard in shards if not compute_if_free(workspace, work, shard, advance)]
    held: list[Shard] = []
    left = iter(shards)

    def heard(texts: int, tokens: int, under_way: int = 0) -> None:
        """Ends a shard that a late thread began while the run was being stopped."""
        if workspace.stopped.is_set():
            raise EngineError("the run was stopped")
        advance(texts, tokens, under_way)

    with ThreadPoolExecutor(most, thread_name_prefix="latentext-shard") as threads:
        running: dict[Future[bool], Shard] = {}
        try:
            while _fill(running, left, most, lambda s: threads.submit(compute_if_free, workspace, work, s, heard)):
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    shard = running.pop(future)
                    if not future.result():
                        held.append(shard)
        except BaseException:
            # The other threads sit in calls of the engine: closing it ends those, and the pool can be left.
            workspace.stop_engine()
            raise
    return held


def _fill(
    running: dict[Future[bool], Shard], left: Iterator[Shard], most: int, start: Callable[[Shard], Future[bool]]
) -> bool:
    """Start shards until `most` are running; whether any is."""
    while len(running) < most and (shard := next(left, None)) is not None:
        running[start(shard)] = shard
    return bool(running)


def _waiting(workspace: Workspace, work: Work, held: list[Shard]) -> str:
    who = holders(workspace.root)
    at_work = next((str(who[name]) for name in map(work.lease, held) if name in who), "another run")
    shards = "1 shard" if len(held) == 1 else f"{len(held)} shards"
    return f"waiting for {shards} of {work.description} that {at_work} works on"


def compute_if_free(workspace: Workspace, work: Work, shard: Shard, advance: Advance) -> bool:
    """Whether the shard is done now: computed here, or found committed by another run."""
    with workspace.leases.take(work.lease(shard)) as held:
        if not held:
            return False
        # Between our look at the receipts and our lease another run may have finished this shard.
        if work.done(shard) is None:
            work.compute(shard, advance)
        else:
            advance(len(shard) * work.texts_per_request, 0)
        return True
