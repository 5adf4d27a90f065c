"""Who works on what: a lease file per (stage, shard), so that runs of the same spec share a directory without doing
work twice.

A lease is a small file that is created exclusively and touched while its holder lives. On the holder's own machine a
dead process is recognised at once (by process number and start time, so a reused number deceives nobody). A lease of
another machine counts as abandoned when it was not touched for `EXPIRY_SECONDS` by the file system's own clock, and we
have watched it, by a clock that cannot jump, for as long as two touches take. If the file system's clock went back, so
that it says nothing, we watch for the whole `EXPIRY_SECONDS`.

Leases spare work; they do not guard correctness. Should two processes ever take over the same abandoned lease, both
write the same bytes under the same names, and the second rename changes nothing.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from latentext.storage import filesystem
from latentext.storage.atomic import file_system_now
from latentext.storage.interrupts import interrupts_put_off
from latentext.storage.liveness import process_start, this_machine

FOLDER = ".leases"
EXPIRY_SECONDS = 120.0
_TOUCH_SECONDS = 15.0
_POLL_SECONDS = 0.1
_DAY = 24 * 3600.0
_YEAR_9999 = 253_370_764_800


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease."""

    host: str
    process: Annotated[int, Field(gt=0, lt=1 << 32)]
    started: str
    since: Annotated[float, Field(ge=0, lt=_YEAR_9999, allow_inf_nan=False)]
    machine: str = ""
    """What `liveness.this_machine` calls it: containers may share a host name, and know nothing of each other."""

    @property
    def is_here(self) -> bool:
        """Whether it can be asked if this process lives."""
        return self.machine == this_machine()

    def __str__(self) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.process} on {self.host}, since {moment}"


_HOLDER = TypeAdapter(Holder)


class Leases:
    """The leases that this process takes in one directory; one background thread keeps them fresh.

    Args:
        clock: seconds that only ever go forwards.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic):
        self._folder = root / FOLDER
        self._clock = clock
        self._watched: dict[Path, tuple[int, float]] = {}
        self._held: set[Path] = set()
        self._asked: set[Path] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def take(self, name: str) -> Iterator[bool]:
        """Hold the lease of this name inside the ``with`` block; gives False if another live process has it."""
        path = self._folder / f"{name.replace('/', '--')}.json"
        filesystem.make_folder(self._folder)
        self._asked.add(path)
        if not self._acquire(path):
            self._asked.discard(path)
            yield False
            return
        with self._lock:
            self._held.add(path)
        self._keep_fresh()
        try:
            yield True
        finally:
            with self._lock:
                self._held.discard(path)
            filesystem.remove(path)
            self._asked.discard(path)  # One a shard: kept, they would grow with the run.

    @contextmanager
    def wait_for(self, name: str) -> Iterator[None]:
        """Hold the lease of this name inside the ``with`` block, as soon as no other live process has it.

        For work that takes moments; nobody is told of the waiting.
        """
        while True:
            with self.take(name) as held:
                if held:
                    yield
                    return
            time.sleep(_POLL_SECONDS)

    def sweep(self) -> None:
        """Remove the leases of dead holders, as far as one look can tell."""
        for path in self._folder.glob("*.json"):
            holder = _read(path)
            elsewhere = holder is None or not holder.is_here
            if self._abandoned(path) or (elsewhere and _untouched_seconds(path) > _DAY):
                filesystem.remove(path)

    def give_back(self) -> None:
        """Give back what an interrupt kept `take` from giving back, once nothing works under any of these leases.

        Ctrl-C may come between the making of a lease and the block that would remove it. Who then asked for the same
        one again would wait for itself.
        """
        for path in list(self._asked):
            if _is_of_this_process(_read(path)):
                filesystem.remove(path)
            self._asked.discard(path)

    def close(self) -> None:
        """Stop the background thread, and `give_back`."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self.give_back()

    def _keep_fresh(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._touch_all, name="latentext-leases", daemon=True)
                self._thread.start()

    def _acquire(self, path: Path) -> bool:
        me = Holder(socket.gethostname(), os.getpid(), process_start(os.getpid()), time.time(), this_machine())
        content = json.dumps(asdict(me)).encode()
        with interrupts_put_off():  # A lease without content would not say whose it is, and nobody could give it back.
            if filesystem.create_with(path, content):
                return True
        if not self._abandoned(path, missing=True):
            return False
        # Of two who find the same dead holder, the later must not remove what the first one has just put there.
        with _one_at_a_time(path.parent), interrupts_put_off():
            if self._abandoned(path):
                filesystem.remove(path)
            return filesystem.create_with(path, content)

    def _abandoned(self, path: Path, *, missing: bool = False) -> bool:
        """Whether nobody holds a lease any more; one of another machine has to be looked at more than once.

        Args:
            missing: what is said of a lease that is not there. Who is about to remove it must not take this for an
                abandoned one: another may have made it by then.
        """
        holder = _read(path)
        if holder is not None and holder.is_here:
            return not _lives_here(holder)
        try:
            touched = path.stat().st_mtime_ns
        except FileNotFoundError:
            return missing
        seen, since = self._watched.get(path, (touched, self._clock()))
        if seen != touched:
            since = self._clock()
        self._watched[path] = touched, since
        watched = self._clock() - since
        # A lease that cannot be read is being written, or its writer died writing it: age alone tells.
        expiry = EXPIRY_SECONDS if holder is not None else _TOUCH_SECONDS
        return watched > expiry or (watched > 2 * _TOUCH_SECONDS and _untouched_seconds(path) > expiry)

    def _touch_all(self) -> None:
        while not self._closed.wait(_TOUCH_SECONDS):
            with self._lock:
                for path in self._held:
                    # Removed by hand, or out of reach for a moment: the work goes on all the same.
                    with suppress(OSError):
                        os.utime(path)


def holders(root: Path) -> dict[str, Holder]:
    """The holders of leases in a directory, by lease name, that live as far as one look can tell."""
    folder = root / FOLDER
    if not folder.is_dir():
        return {}
    found = {path.stem.replace("--", "/"): (path, _read(path)) for path in sorted(folder.glob("*.json"))}
    return {name: holder for name, (path, holder) in found.items() if holder is not None and _seems_alive(path, holder)}


def _seems_alive(path: Path, holder: Holder) -> bool:
    if holder.is_here:
        return _lives_here(holder)
    return _untouched_seconds(path) <= EXPIRY_SECONDS


def _lives_here(holder: Holder) -> bool:
    return process_start(holder.process) == holder.started


def _untouched_seconds(path: Path) -> float:
    """How long nobody touched a file, by the clock of its file system; without end if it is gone."""
    try:
        return file_system_now(path.parent) - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep others on this machine, and where the file system passes locks on also elsewhere, out of the block."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # Some network file systems lock no folders; two holders then do the same work.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_of_this_process(holder: Holder | None) -> bool:
    mine = (this_machine(), os.getpid(), process_start(os.getpid()))
    return holder is not None and (holder.machine, holder.process, holder.started) == mine


def _read(path: Path) -> Holder | None:
    """What a lease says; None for one that is being written, and for what is no lease at all."""
    try:
        return _HOLDER.validate_json(filesystem.read_bytes(path), strict=True)
    except (OSError, ValueError, RecursionError):
        return None
