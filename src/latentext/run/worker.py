"""One worker of a run that is spread over several: it prepares the directory like any run, then does what it is told.

A worker lives in a process of its own (`latentext.run.processes`) or is a Ray actor (`latentext.run.ray_workers`).
What there is to do it reads from the receipts; what it does is one shard at a time. So a worker that dies costs its
shard and nothing else, and one that takes its place needs no history.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from latentext.engines.engine import Engine
from latentext.run.estimate import Estimate, bound
from latentext.run.progress import NoProgress
from latentext.run.stages import all_works
from latentext.run.under_way import Advance
from latentext.run.views import write_run_views
from latentext.run.work import Work, compute_if_free, shards_to_do, texts_of
from latentext.run.workspace import prepare
from latentext.spec import Spec


@dataclass(frozen=True)
class WorkOrder:
    """What a worker needs to begin; the same for all workers of a run.

    Attributes:
        spec: with absolute input paths.
        root: the dataset directory, on a file system that all workers share.
        retry_failed: whether shards with failures are opened again.
        threads: of each worker, where the directory has not settled their number yet.
        open_engine: makes the engine in place of the spec's own; a function that a process can be sent.
    """

    spec: Spec
    root: str
    retry_failed: bool = False
    threads: int | None = None
    open_engine: Callable[[], Engine] | None = None


@dataclass(frozen=True)
class Stage:
    """A stage that has something to do: `total` and `done` count texts, `waiting` are shard numbers, and `texts` says
    how many texts each of these shards has."""

    name: str
    description: str
    total: int
    done: int
    waiting: tuple[int, ...]
    texts: tuple[int, ...]


@dataclass(frozen=True)
class ShardDone:
    """What became of one shard; `held` by another run, it was not touched."""

    held: bool
    texts: int
    tokens: int


class Worker:
    """A prepared directory and the loaded model, asked shard by shard."""

    def __init__(self, order: WorkOrder):
        self._order = order
        if order.threads is not None:
            torch.set_num_threads(order.threads)
        engine = order.open_engine() if order.open_engine is not None else None
        self._workspace = prepare(order.spec, Path(order.root), NoProgress(), engine)
        self._works: dict[str, Work] = {}
        self._offered: set[str] = set()

    def estimate(self) -> Estimate:
        """What the run will make."""
        return bound(self._order.spec, self._workspace.plan)

    def next_stage(self, passed_over: Collection[tuple[str, int]]) -> Stage | None:
        """The first stage that has shards to compute, but for those `passed_over`; None when all is done."""
        for name in self._names():
            # Shards with failures are opened once: other workers try them, and only their receipts say so here.
            work = self._find(name, self._order.retry_failed and name not in self._offered)
            waiting = [s for s in shards_to_do(self._workspace, work) if (name, s.number) not in passed_over]
            if waiting:
                self._offered.add(name)
                total, left = (texts_of(work, shards) for shards in (self._workspace.shards, waiting))
                texts = tuple(texts_of(work, [shard]) for shard in waiting)
                return Stage(name, work.description, total, total - left, tuple(s.number for s in waiting), texts)
        return None

    def compute(self, stage: str, shard_number: int, heard: Advance = lambda *moved: None) -> ShardDone:
        """Compute one shard of a stage, unless another run holds it."""
        texts = tokens = 0

        def count(new_texts: int, new_tokens: int, under_way: int = 0) -> None:
            nonlocal texts, tokens
            texts, tokens = texts + new_texts, tokens + new_tokens
            heard(new_texts, new_tokens, under_way)

        heard(0, 0)  # The worker stands and begins: from now on its time counts.
        shard = self._workspace.plan.shards[shard_number]
        done = compute_if_free(self._workspace, self._work(stage), shard, count)
        return ShardDone(not done, texts, tokens)

    def finish(self) -> dict[str, Any]:
        """Write the views; returns the metadata of the dataset."""
        return write_run_views(self._workspace)

    def close(self) -> None:
        """Give leases and memory back."""
        self._workspace.close_engine()
        self._workspace.leases.close()

    def _names(self) -> Iterator[str]:
        """The stages in order, each declared on the disk when its turn comes."""
        return (work.name for work in all_works(self._workspace, retry_failed=False))

    def _find(self, name: str, retry_failed: bool) -> Work:
        return next(work for work in all_works(self._workspace, retry_failed) if work.name == name)

    def _work(self, name: str) -> Work:
        """The stage as this worker computes it: one that was met before knows which failures it has tried again."""
        if name not in self._works:
            self._works[name] = self._find(name, self._order.retry_failed)
        return self._works[name]
