"""Who works on what: a lease file per (stage, shard), so that runs of the same spec share a directory without doing
work twice.

A lease is a small file that is created exclusively and touched while its holder lives. On the holder's own machine a
dead process is recognised at once (by process number and start time, so a reused number deceives nobody); on another
machine a lease counts as abandoned when it was not touched for `EXPIRY_SECONDS` by the file system's own clock.

Leases spare work; they do not guard correctness. Should two processes ever take over the same abandoned lease, both
write the same bytes under the same names, and the second rename changes nothing.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from latentext.dataset import filesystem
from latentext.errors import LatentextError

FOLDER = ".leases"
EXPIRY_SECONDS = 120.0
_TOUCH_SECONDS = 15.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease."""

    host: str
    process: int
    started: str
    since: float

    def __str__(self) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.process} on {self.host}, since {moment}"


class Leases:
    """The leases that this process takes in one directory; one background thread keeps them fresh."""

    def __init__(self, root: Path):
        self._folder = root / FOLDER
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
        if not _acquire(path):
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
        """Remove the leases of dead holders."""
        for path in self._folder.glob("*.json"):
            if _abandoned(path):
                filesystem.remove(path)

    def close(self) -> None:
        """Stop the background thread, and give back what an interrupt kept `take` from giving back."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        # Ctrl-C may come between the making of a lease and the block that would remove it.
        for path in self._asked:
            if _is_of_this_process(_read(path)):
                filesystem.remove(path)

    def _keep_fresh(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._touch_all, name="latentext-leases", daemon=True)
                self._thread.start()

    def _touch_all(self) -> None:
        while not self._closed.wait(_TOUCH_SECONDS):
            with self._lock:
                for path in self._held:
                    # Gone only if someone removed it by hand; the work goes on all the same.
                    with suppress(FileNotFoundError):
                        os.utime(path)


def holders(root: Path) -> dict[str, Holder]:
    """The live holders of leases in a directory, by lease name."""
    folder = root / FOLDER
    if not folder.is_dir():
        return {}
    found = {p.stem.replace("--", "/"): _read(p) for p in sorted(folder.glob("*.json")) if not _abandoned(p)}
    return {name: holder for name, holder in found.items() if holder is not None}


def _acquire(path: Path) -> bool:
    me = Holder(socket.gethostname(), os.getpid(), _process_start(os.getpid()), time.time())
    content = json.dumps(asdict(me)).encode()
    if filesystem.create_with(path, content):
        return True
    if not _abandoned(path):
        return False
    filesystem.remove(path)
    return filesystem.create_with(path, content)


def _abandoned(path: Path) -> bool:
    holder = _read(path)
    try:
        if holder is not None and holder.host == socket.gethostname():
            return _process_start(holder.process) != holder.started
        age = _file_system_now(path.parent) - path.stat().st_mtime
    except FileNotFoundError:
        return True
    # A lease that cannot be read is being written, or its writer died writing it: age alone tells.
    return age > (EXPIRY_SECONDS if holder is not None else _TOUCH_SECONDS)


def _is_of_this_process(holder: Holder | None) -> bool:
    mine = (socket.gethostname(), os.getpid(), _process_start(os.getpid()))
    return holder is not None and (holder.host, holder.process, holder.started) == mine


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _process_start(process: int) -> str:
    """When a process began, as an opaque word; empty when there is no such process."""
    try:
        state, *facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        # A killed process keeps its entry until its parent asks for it, which some parents never do.
        return "" if state in ("Z", "X") else facts[18]
    except (OSError, ValueError, IndexError):
        pass
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        return "alive"
    # Systems without /proc, and ones that have it while the process is gone, differ only here.
    return "" if Path("/proc/self/stat").exists() else "alive"


def _file_system_now(folder: Path) -> float:
    """The present by the clock that stamps files there: two machines' own clocks may differ by minutes."""
    probe = folder / f".now-{os.getpid()}-{threading.get_ident()}"
    try:
        filesystem.create_with(probe, b"")
        now = probe.stat().st_mtime
        filesystem.remove(probe)
    except LatentextError:  # Someone only reads here, or the disk is full: our own clock has to do.
        return time.time()
    return now
