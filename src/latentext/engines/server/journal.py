"""The journal: every answer that was paid for, on the disk before it counts.

A SQLite file beside the dataset, in WAL mode. A change is committed before the call that makes it returns: then it is
the operating system's, and no way to end this process can lose it. A thread syncs the log, which a power cut asks for,
and completes the futures. What is committed while it syncs shares the next sync, so none waits longer than the one
under way: groups form by themselves, well under 50 ms apart, and a run finds every answer that any part of it has ever
seen. (With ``synchronous=FULL`` each commit would wait for the disk, and whoever sends requests with it.)

One process at a time writes a journal (a lock file beside it): budgets are caps on what all of a dataset's requests
cost, and two processes could each spend what is left. Reading what was spent needs no lock.
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from latentext.engines.server.journal_tables import (
    MOST,
    JournalAnswer,
    add_spend,
    connect,
    in_our_words,
    put_answer,
    read_spend,
    read_waiting,
    total,
    upgrade,
)
from latentext.engines.server.spend import Spend
from latentext.errors import DatasetError, SpecError
from latentext.libraries.sqlite import open_log
from latentext.storage import filesystem

__all__ = ["Journal", "JournalAnswer", "read_spend", "read_waiting"]

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]
"""Something to do inside a commit."""


class Journal:
    """An open journal; `close` it, or use it in a ``with`` block.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "journal.sqlite")) as journal:
        ...     journal.put("gpt-4o", JournalAnswer("a1", 0, b"{}", Spend(answers=1, prompt_tokens=7))).result()
        ...     journal.answers([("a1", 0), ("a1", 1)]), journal.spend().prompt_tokens
        ({('a1', 0): b'{}'}, 7)

    Raises:
        SpecError: the file is on a network file system, where SQLite's locks cannot be relied on.
        DatasetError: another process has it open, or it is damaged or of a later version.
    """

    def __init__(self, path: Path):
        self.path = path
        refuse_network_file_system(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"cannot be made: {error.strerror}", where=str(path), remedy="--journal PATH") from error
        with ExitStack() as opened:
            opened.callback(os.close, _lock(path))
            self._connection = opened.enter_context(closing(connect(path)))
            self.notes = tuple(filter(None, [upgrade(path, self._connection)]))
            self._reader = opened.enter_context(closing(connect(path)))
            self._log = _open_log(self._connection, path)
            if self._log is not None:
                opened.callback(os.close, self._log)
            self._opened = opened.pop_all()
        self._read_lock, self._write_lock = threading.Lock(), threading.Lock()
        self._committed: queue.SimpleQueue[tuple[Future[Any], Any] | None] = queue.SimpleQueue()
        self._refused: DatasetError | None = None
        self._is_open = True
        self.syncs = 0
        self._syncing = threading.Thread(target=self._sync, name="latentext-journal", daemon=True)
        self._syncing.start()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, model: str, answer: JournalAnswer) -> Future[None]:
        """Keep an answer and count what it cost, in one commit; see `change`."""

        return self.change(lambda connection: put_answer(connection, model, answer))

    def count(self, model: str, spend: Spend) -> Future[None]:
        """Count what was, or may have been, spent without an answer that is kept."""
        return self.change(lambda connection: add_spend(connection, model, spend))

    def change(self, change: Change[T]) -> Future[T]:
        """Do something in a commit of its own: when this returns, the end of the process cannot undo it.

        The future is done when it is on the disk itself, or has the reason why it is not kept.
        """
        done: Future[T] = Future()
        try:
            with self._write_lock:
                if self._refused is not None:
                    raise self._refused
                with in_our_words(self.path), self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    result = change(self._connection)
                self._committed.put((done, result))
        except Exception as error:  # Handed to whoever waits for it.
            done.set_exception(error)
        return done

    def wait(self) -> None:
        """Return when every change so far is on the disk, or is not kept, and its future says so."""
        done: Future[None] = Future()
        with self._write_lock:
            if self._is_open:
                self._committed.put((done, None))
            else:
                done.set_result(None)
        done.exception()

    def answers(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        """The bodies that are kept for these (key, sample)."""
        keys = list(dict.fromkeys(wanted))
        with self._reading():
            rows = (
                (key, self._reader.execute("SELECT body FROM answers WHERE key = ? AND sample = ?", key).fetchone())
                for key in keys
            )
            return {key: bytes(row[0]) for key, row in rows if row is not None}

    def forget(self, keys: Iterable[tuple[str, int]]) -> Future[None]:
        """Let answers go whose texts are in the dataset; what they cost stays counted."""
        rows = list(keys)

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM answers WHERE key = ? AND sample = ?", rows)

        return self.change(change)

    def spend(self) -> Spend:
        """What was spent so far, over all models."""
        with self._reading():
            return total(self._reader)

    def promised(self) -> tuple[int, int]:
        """(picodollars, tokens) that a run may have had under way when it ended; see `budget`."""
        with self._reading():
            row: tuple[int, int] = self._reader.execute("SELECT picodollars, tokens FROM promised").fetchone()
            return row

    def promise(self, picodollars: int, tokens: int) -> Future[None]:
        """Note the most that requests under way may cost, before they are sent."""
        row = (min(picodollars, MOST), min(tokens, MOST))

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE promised SET picodollars = ?, tokens = ?", row)

        return self.change(change)

    def attempts(self, names: Iterable[str]) -> dict[str, int]:
        """Which attempt at each of these requests is the next, from 1; see `answered`."""
        with self._reading():
            found = {
                name: self._reader.execute("SELECT attempt FROM attempts WHERE name = ?", (name,)).fetchone()
                for name in names
            }
        return {name: 1 if row is None else int(row[0]) for name, row in found.items()}

    def answered(self, name: str) -> Future[None]:
        """Note that an attempt at a request was answered without a text: if it is asked again, as another attempt."""
        sql = "INSERT INTO attempts VALUES (?, 2) ON CONFLICT (name) DO UPDATE SET attempt = attempt + 1"

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(sql, (name,))

        return self.change(change)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, for tables that other modules keep here."""
        with self._reading():
            return self._reader.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Sync what is waiting and close the file; safe to call twice.

        Other shards may still be at work when one meets a cap. They are waited for, and refused from then on: SQLite
        crashes the process where one thread closes what another reads.
        """
        with self._write_lock:
            self._is_open = False
            self._refused = self._refused or DatasetError("the journal is closed", where=str(self.path))
            self._committed.put(None)
        self._syncing.join()
        with self._write_lock, self._read_lock:
            self._opened.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One thread at a time reads, and nobody once the file is closed."""
        with self._read_lock, in_our_words(self.path):
            if not self._is_open:
                raise DatasetError("the journal is closed", where=str(self.path))
            yield

    def _sync(self) -> None:
        while (first := self._committed.get()) is not None:
            group, last = [first], False
            while not self._committed.empty() and not last:
                if (item := self._committed.get()) is None:
                    last = True
                else:
                    group.append(item)
            self._complete(group)
            if last:
                return

    def _complete(self, group: list[tuple[Future[Any], Any]]) -> None:
        """Bring a group of commits to the disk, and say so to those who wait; or why nothing more is kept."""
        try:
            if self._log is not None:
                os.fsync(self._log)
        except OSError as error:
            what = f"the journal cannot be written: {error.strerror}"
            refused = DatasetError(what, where=str(self.path), heading="The journal")
            with self._write_lock:  # Nobody knows what is on the disk now, and a later sync would prove nothing.
                self._refused = self._refused or refused
            for done, _ in group:
                done.set_exception(refused)
            return
        self.syncs += 1
        for done, result in group:
            done.set_result(result)


def _open_log(connection: sqlite3.Connection, path: Path) -> int | None:
    """A descriptor by which SQLite's log can be synced; None where each commit is synced by itself."""
    try:
        descriptor = open_log(connection, path)
    except OSError as error:
        raise DatasetError(f"its log cannot be opened: {error.strerror}", where=str(path)) from error
    try:
        filesystem.sync_folder(path.parent)  # The log's name too: without it a power cut leaves its bytes to nobody.
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        raise
    return descriptor


def _lock(path: Path) -> int:
    """Take the lock file of a journal; it is given back by the system when the process ends, however it ends."""
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise DatasetError(f"cannot be made: {error.strerror}", where=str(path), remedy="--journal PATH") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DatasetError(
            "another process writes this journal",
            where=str(path),
            remedy="wait for it or stop it: two runs could each spend what is left of a budget",
            heading="The journal",
        ) from None
    return descriptor


MOUNTS = Path("/proc/self/mounts")
"""Where Linux says what is mounted where."""

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "lustre", "beegfs", "gpfs", "ceph", "glusterfs", "afs", "ocfs2",
    "gfs2", "pvfs2", "orangefs", "panfs", "wekafs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs",
    "fuse.gcsfuse", "fuse.rclone", "fuse.mount-s3", "fuse.juicefs", "fuse.quobyte",
}  # fmt: skip


def refuse_network_file_system(path: Path) -> None:
    """Refuse a place where several machines write.

    Raises:
        SpecError: the file system of `path` is a network one (where the system says so: Linux).
    """
    kind = _file_system(path)
    if kind in _NETWORK:
        raise SpecError(
            f"is on a network file system ({kind}), where a journal of paid answers is not safe",
            where=str(path),
            remedy="place it on a local disk: --journal PATH",
            heading="The journal",
        )


def _file_system(path: Path) -> str | None:
    """The kind of file system that a path is, or would be, on; None where the system does not say."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found: tuple[int, str | None] = (-1, None)
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= found[0]:
            found = (len(point), kind)
    return found[1]
