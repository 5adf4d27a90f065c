"""The tables of a journal: how they are made, taken over from earlier versions, added to and read.

`journal` decides when something is written and when it counts; what a row means is said here.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from latentext.engines.server.spend import Spend
from latentext.errors import DatasetError, DiskFullError

FORMAT = 2
"""1, of version 0.1.0, named answers by request key and sample alone, and counted requests that were never sent."""
MOST = 2**62
"""Sums stop here, half way to what SQLite can hold: millions of dollars, which only nonsense comes to."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL, sample INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (key, sample)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spend (
    model TEXT PRIMARY KEY, answers INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, picodollars INTEGER NOT NULL, unpriced INTEGER NOT NULL,
    uncertain_picodollars INTEGER NOT NULL, uncertain_tokens INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS promised (
    one INTEGER PRIMARY KEY CHECK (one = 1), picodollars INTEGER NOT NULL, tokens INTEGER NOT NULL
);
INSERT OR IGNORE INTO promised VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS attempts (name TEXT PRIMARY KEY, attempt INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    tag TEXT PRIMARY KEY, picodollars INTEGER NOT NULL, tokens INTEGER NOT NULL, counted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS datasets (name TEXT PRIMARY KEY, place TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class JournalAnswer:
    """One answer as it came: which text it is for, the JSON body, and what it counts for.

    `key` is the request's name (`naming`), which holds the sample too; a journal of version 0.1.0 has request keys.
    """

    key: str
    sample: int
    body: bytes
    spend: Spend


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a journal, whose tables are made if they are not there; `upgrade` comes next.

    Raises:
        DatasetError: it is damaged, or of a later version.
    """
    with in_our_words(path):
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if connection.execute("PRAGMA user_version").fetchone()[0] > FORMAT:
                raise DatasetError("was made by a later version", where=str(path), heading="A newer format")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
    return connection


def upgrade(path: Path, connection: sqlite3.Connection) -> str | None:
    """Bring a journal to this format; returns what a person should know of it.

    Version 0.1.0 counted refused connections as perhaps billed. Where no request of a journal was ever answered, all of
    its doubt is of that kind, but for a server that takes every request and answers none; it is let go, and said.
    """
    with in_our_words(path), connection:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == FORMAT:
            return None
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        spent = total(connection)
        promised = connection.execute("SELECT tokens FROM promised").fetchone()[0]
        if version == 0 or spent.answers or not (tokens := spent.uncertain_tokens + promised):
            return None
        connection.execute("UPDATE spend SET uncertain_picodollars = 0, uncertain_tokens = 0")
        connection.execute("UPDATE promised SET picodollars = 0, tokens = 0")
    return (
        f"{path}: version 0.1.0 counted {tokens:,} tokens as perhaps billed, and no request was ever answered: they "
        "count no more"
    )


def put_answer(connection: sqlite3.Connection, model: str, answer: JournalAnswer) -> None:
    """Keep an answer and count it, inside a change."""
    row = (answer.key, answer.sample, answer.body)
    connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)
    add_spend(connection, model, answer.spend)


def add_spend(connection: sqlite3.Connection, model: str, spend: Spend) -> None:
    """Add to what a model cost, inside a change."""
    names = Spend.__slots__
    sums = ", ".join(f"{name} = MIN({MOST}, {name} + excluded.{name})" for name in names)
    values = [min(getattr(spend, name), MOST) for name in names]
    marks = ", ".join("?" * (len(names) + 1))
    connection.execute(
        f"INSERT INTO spend (model, {', '.join(names)}) VALUES ({marks}) ON CONFLICT (model) DO UPDATE SET {sums}",
        [model, *values],
    )


def read_spend(path: Path) -> Spend | None:
    """What a journal's requests cost so far, also while a run is writing it; None if there is no journal."""
    if not path.is_file():
        return None
    with in_our_words(path), closing(sqlite3.connect(path, timeout=5.0)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "spend" not in tables:
            return None
        counted = total(connection)
        if "batches" not in tables:
            return counted
        rows = connection.execute("SELECT picodollars, tokens FROM batches WHERE NOT counted").fetchall()
        return sum((Spend(uncertain_picodollars=cost, uncertain_tokens=tokens) for cost, tokens in rows), counted)


def read_waiting(path: Path) -> int:
    """How many answers wait in a journal until their shard is written; 0 if there is no journal."""
    if not path.is_file():
        return 0
    with in_our_words(path), closing(sqlite3.connect(path, timeout=5.0)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone() is None:
            return 0
        return int(connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0])


def total(connection: sqlite3.Connection) -> Spend:
    """What was spent, over all models."""
    # Added here: SQLite's SUM gives up beyond 64 bits.
    rows = connection.execute(f"SELECT {', '.join(Spend.__slots__)} FROM spend").fetchall()
    return sum((Spend(*row) for row in rows), Spend())


class in_our_words:  # noqa: N801 - a with-statement, used like a function
    """Turn SQLite's errors into ours: a full disk is a DiskFullError, all else a DatasetError."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, sqlite3.Error):
            return
        full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        kind = DiskFullError if full else DatasetError
        what = "the disk is full" if full else f"the journal cannot be used: {error}"
        heading = "Disk full" if full else "The journal"
        raise kind(what, where=str(self._path), heading=heading) from error
