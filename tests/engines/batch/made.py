"""What the tests of batches share: a clock that never waits, request files, and a whole cycle against the stand-in."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from latentext.engines.batch.clock import Clock
from latentext.engines.batch.ledger import Ledger
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.remote import Remote, open_remote
from latentext.engines.batch.request_files import read_requests, write_requests
from latentext.engines.batch.settling import outputs_of
from latentext.engines.batch.workflow import Conditions, run_batches
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.standin import StandIn
from latentext.engines.server.standin.batch_faults import BatchFaults
from latentext.engines.server.standin.batches import BatchDesk


@dataclass
class PatientClock:
    """A clock on which waiting takes no time; `waited` is the sum of what was waited."""

    at: float = field(default_factory=time.time)
    waited: float = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.waited += seconds

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep)


def body(number: int, **fields: Any) -> dict[str, Any]:
    """A small request."""
    messages = [{"role": "user", "content": f"Say the number {number}."}]
    return {"model": "gpt-4o", "messages": messages, "max_tokens": 9, **fields}


def workspace(folder: Path, requests: int = 7, per_file: int = 3) -> BatchWorkspace:
    """Request files and a ledger, nothing sent."""
    place = BatchWorkspace(folder / "requests", folder / "outputs")
    with place.alone():
        parts = tuple(write_requests(place, map(body, range(requests)), BatchLimits(requests=per_file)))
        place.save(Ledger(name="test", parts=parts))
    return place


@dataclass
class Server:
    """A stand-in with a desk for batches, and a connection to it."""

    desk: BatchDesk
    url: str
    clock: PatientClock
    told: list[str] = field(default_factory=list)

    @cached_property
    def remote(self) -> Remote:
        return open_remote(self.url, self.clock.clock)

    def run(self, place: BatchWorkspace, **conditions: Any) -> Ledger:
        """The whole cycle, from wherever it stands."""
        with place.alone():
            clock = self.clock.clock
            return run_batches(place, place.ledger(), self.remote, clock, self.told.append, Conditions(**conditions))


@contextmanager
def serving(**faults: Any) -> Iterator[Server]:
    """A stand-in with these faults of batches."""
    with StandIn() as server:
        yield Server(BatchDesk(server, BatchFaults(**faults)), server.url, PatientClock())


def custom_ids(place: BatchWorkspace) -> list[str]:
    """Every request that was ever written, once, in order."""
    files = sorted(place.requests.glob("request_batch*.jsonl"), key=lambda path: int(path.stem[13:]))
    return list(dict.fromkeys(line.custom_id for path in files for line in read_requests(path)))


def tally(place: BatchWorkspace) -> Mapping[str, int]:
    """How all requests ended."""
    return dict(outputs_of(place, place.ledger().parts).tally(custom_ids(place)))


def paid_once(desk: BatchDesk, place: BatchWorkspace) -> bool:
    """Whether every request was billed exactly once."""
    return desk.billed == Counter(custom_ids(place))
