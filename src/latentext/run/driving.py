"""A run over several workers: stage after stage, each free worker gets the next shard.

What may happen to a worker is decided here, once for processes and for Ray. One that dies is replaced and its shard
tried again, and so is a shard that raised what nobody expected; a shard that failed `TRIES` times is passed over and
reported, while the others go on. What a user can mend (a full disk, a changed input) ends the run at once.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from latentext.errors import EngineError, LatentextError
from latentext.phases import preparing
from latentext.run.progress import Progress
from latentext.run.worker import ShardDone, Stage

TRIES = 3
"""How often a shard is begun before it is passed over."""

_HELD_SECONDS = 1.0
_LOOK_SECONDS = 1.0

ShardOfStage = tuple[str, int]


@dataclass(frozen=True)
class Said:
    """What a worker answered: a result, or the error that it raised."""

    worker: int
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class Moved:
    """A worker is at work: so many more texts and tokens are finished, so many more tokens are under way."""

    worker: int
    texts: int
    tokens: int
    under_way: int = 0


@dataclass(frozen=True)
class Died:
    """A worker is gone, with what is known of the reason."""

    worker: int
    why: str


class Workers(Protocol):
    """Workers by number, from 0, each a `latentext.run.worker.Worker` somewhere."""

    count: int
    report_progress: bool
    """Whether a worker says `Moved` when it begins a shard and with each text."""

    def ask(self, worker: int, method: str, *arguments: Any) -> None:
        """Call a method of a worker that is idle; its answer comes by `hear`."""

    def hear(self, seconds: float) -> Said | Moved | Died | None:
        """The next that any worker says, or None after so many seconds."""

    def replace(self, worker: int) -> None:
        """End a worker, if it is not dead yet, and start another under its number."""

    def close(self) -> None:
        """End all workers: an unfinished shard is dropped, leases are given back."""


@dataclass
class Driven:
    """What a run over workers came to."""

    metadata: Mapping[str, Any]
    tokens: int
    passed_over: Mapping[ShardOfStage, str] = field(default_factory=dict)


class Driver:
    """Drives the workers of one run.

    Args:
        shard_timeout: seconds that a shard may take; a worker that takes longer counts as hung and is replaced.
    """

    def __init__(self, workers: Workers, progress: Progress, shard_timeout: float | None = None):
        self._workers, self._progress, self._timeout = workers, progress, shard_timeout
        self._tries: Counter[ShardOfStage] = Counter()
        self._passed_over: dict[ShardOfStage, str] = {}
        self._tokens = 0
        self.stage: Stage | None = None
        """What is computed now, or was when something went wrong."""

    def ask_first(self, method: str, *arguments: Any) -> Any:
        """Ask worker 0 for something that is no shard; it gets `TRIES` lives for it.

        Raises:
            EngineError: it died each time.
        """
        why = ""
        for _ in range(TRIES):
            self._workers.ask(0, method, *arguments)
            while not isinstance(heard := self._workers.hear(_LOOK_SECONDS), Said | Died) or heard.worker != 0:
                self._mind_the_idle(heard)
            if isinstance(heard, Said):
                if heard.error is not None:
                    raise heard.error
                return heard.result
            why = heard.why
            self._workers.replace(0)
        raise EngineError(f"the worker died {TRIES} times before its first shard ({why})", remedy="run without workers")

    def run(self) -> Driven:
        """Compute every stage to its end.

        Raises:
            LatentextError: what a worker raised that a user can mend.
        """
        while (stage := self.ask_first("next_stage", set(self._passed_over))) is not None:
            self.stage = stage
            self._progress.start(stage.total, stage.done, stage.description)
            with ExitStack() as loading:
                loading.enter_context(preparing("workers load the model"))
                self._run_stage(stage, loading)
        return Driven(self.ask_first("finish"), self._tokens, self._passed_over)

    def _run_stage(self, stage: Stage, loading: ExitStack) -> None:
        queue, held = deque(stage.waiting), deque[int]()
        busy: dict[int, tuple[int, float | None]] = {}
        told, writing = Counter[int](), Counter[int]()
        while queue or held or busy:
            if not queue and held and not busy:
                time.sleep(_HELD_SECONDS)
                queue, held = held, deque()
            for worker in range(self._workers.count):
                if worker not in busy and queue:
                    shard = queue.popleft()
                    busy[worker], told[worker] = (shard, self._now_if_silent()), 0
                    self._workers.ask(worker, "compute", stage.name, shard)
            if (heard := self._hung(busy) or self._workers.hear(_LOOK_SECONDS)) is not None:
                loading.close()
            if heard is None or heard.worker not in busy:
                self._mind_the_idle(heard)
            elif isinstance(heard, Moved):
                shard, since = busy[heard.worker]
                busy[heard.worker] = shard, since or time.monotonic()
                told[heard.worker] += heard.texts
                writing[heard.worker] += heard.under_way
                self._progress.writing(heard.under_way)  # First: a finished text is never counted twice.
                self._advance(heard.texts, heard.tokens)
            else:
                shard, _ = busy.pop(heard.worker)
                self._progress.writing(-writing.pop(heard.worker, 0))
                if isinstance(heard, Said) and heard.error is None:
                    assert isinstance(heard.result, ShardDone)
                    self._advance(heard.result.texts - told[heard.worker], 0)
                    if heard.result.held:
                        held.append(shard)
                    continue
                self._advance(-told[heard.worker], 0)
                if self._failed(heard, (stage.name, shard)):
                    queue.append(shard)

    def _advance(self, texts: int, tokens: int) -> None:
        self._tokens += tokens
        self._progress.advance(texts, tokens)

    def _mind_the_idle(self, heard: Said | Moved | Died | None) -> None:
        """Replace a worker that died while it had nothing to do: it costs nothing but must not be waited for."""
        if isinstance(heard, Died):
            self._workers.replace(heard.worker)

    def _now_if_silent(self) -> float | None:
        """When a shard begins: a new worker loads its model first, and says when it is done if it can."""
        return None if self._workers.report_progress else time.monotonic()

    def _hung(self, busy: Mapping[int, tuple[int, float | None]]) -> Died | None:
        if self._timeout is not None:
            for worker, (_, since) in busy.items():
                if since is not None and time.monotonic() - since > self._timeout:
                    return Died(worker, f"hung for more than {self._timeout:g} s")
        return None

    def _failed(self, heard: Said | Died, what: ShardOfStage) -> bool:
        """Note that a shard came to nothing; whether it is tried again."""
        if isinstance(heard, Said) and isinstance(heard.error, LatentextError):
            raise heard.error
        why = heard.why if isinstance(heard, Died) else f"{type(heard.error).__name__}: {heard.error}"
        why = " ".join(why.split())
        self._tries[what] += 1
        again = self._tries[what] < TRIES
        what_next = "tried again" if again else f"passed over after {TRIES} tries"
        self._progress.note(f"{what[0]}, shard {what[1]}: {why}; {what_next}")
        if not again:
            self._passed_over[what] = why
        # After an error that nobody expected the model's state is not to be relied on either.
        self._workers.replace(heard.worker)
        return again
