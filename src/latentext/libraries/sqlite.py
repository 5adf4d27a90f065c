"""What latentext uses of SQLite beyond its documented interface: its write-ahead log can be synced from outside.

The journal commits with ``synchronous=NORMAL``, which leaves the log to the operating system, and syncs the log in a
thread of its own. This needs to know which file that is (https://sqlite.org/walformat.html: the database's name and
``-wal``).
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

logger = logging.getLogger(__name__)


def open_log(connection: sqlite3.Connection, path: Path) -> int | None:
    """A file descriptor of the log into which `connection` writes; the log is one file while a connection is open.

    None if SQLite keeps no log of that name: then the connection syncs each of its commits itself, which is slower.

    Args:
        connection: in WAL mode; it has committed something.
        path: of the database.

    Raises:
        OSError: the log is there and cannot be opened.
    """
    mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    if mode == "wal":
        try:
            return os.open(path.with_name(path.name + "-wal"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
    connection.execute("PRAGMA synchronous = FULL")
    logger.warning(
        "%s: SQLite %s keeps no log beside it (journal mode %s): every answer waits for the disk",
        path,
        sqlite3.sqlite_version,
        mode,
    )
    return None
