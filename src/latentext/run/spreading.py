"""`make_dataset` over several workers: the same directory, byte for byte, as one worker makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from latentext.errors import LatentextError, SpecError
from latentext.phases import preparing
from latentext.run.driving import Driver, Workers
from latentext.run.estimate import Estimate
from latentext.run.foreign import move_aside, moved_back_if_refused
from latentext.run.interrupted import RunInterrupted, left_by_workers
from latentext.run.progress import NoProgress, Progress, StatusFile
from latentext.run.rewarding import refuse_missing, remarks_on_rewards
from latentext.run.runner import RunSummary, as_a_guest, directory_of, summary_of
from latentext.run.shard_size import said_of_change, size_of_plan
from latentext.run.views import write_views_without_a_model
from latentext.run.worker import WorkOrder
from latentext.spec import Spec


def make_dataset_with_workers(
    spec: Spec,
    output: str | Path | None = None,
    *,
    start: Callable[[WorkOrder], Workers],
    retry_failed: bool = False,
    fresh: bool = False,
    threads: int | None = None,
    shard_timeout: float | None = None,
    progress: Progress | None = None,
    on_plan: Callable[[Estimate], None] | None = None,
) -> RunSummary:
    """Make the dataset of a spec with several workers, or continue it; what is not named here is as in `make_dataset`.

    Args:
        start: starts the workers, such as ``lambda order: ProcessWorkers(order, 4)``.
        threads: of each worker, if no earlier run of the directory settled their number.
        shard_timeout: seconds after which a worker counts as hung; None waits for ever.

    Raises:
        SpecError: the engine asks a server, which one process does best.
        LatentextError: what a worker met that a user can mend; what is finished stays finished.
    """
    if spec.model.remote:
        raise SpecError(
            f"engine {spec.model.engine} runs in one process",
            where="--workers",
            remedy="leave it out; model.api.concurrency says how many requests are in flight",
        )
    root = directory_of(spec, output)
    progress = progress or NoProgress()
    refuse_missing(spec.rewards, root)
    with as_a_guest():
        aside = move_aside(root) if fresh else None
        started = time.monotonic()
        workers = start(WorkOrder(spec, str(root), retry_failed, threads))
        watched = StatusFile(progress, root)
        driver = Driver(workers, watched, shard_timeout)
        try:
            with preparing("starting the first worker"), moved_back_if_refused(aside, root):
                size = size_of_plan(root)
                plan = driver.ask_first("estimate")
            if aside is not None:
                progress.note(f"the earlier dataset is now {aside}")
            for line in (*remarks_on_rewards(root, spec), *said_of_change(size, size_of_plan(root))):
                progress.note(line)
            if on_plan is not None:
                on_plan(plan)
            driven = driver.run()
        except BaseException as error:
            stage, tally = driver.stage, watched.tally
            watched.finish()
            workers.close()
            # For readers of the unfinished dataset; if they cannot be written, the first error still counts.
            with suppress(LatentextError):
                write_views_without_a_model(root)
            if isinstance(error, KeyboardInterrupt) and stage is not None:
                raise RunInterrupted(left_by_workers(root, stage, tally)) from error
            raise
        watched.finish()
        workers.close()
    return summary_of(root, driven.metadata, driven.tokens, time.monotonic() - started, driven.passed_over)
