"""Answers are on the disk before they count, whether or not SQLite keeps the log that latentext knows."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

import pytest

from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.spend import Spend
from latentext.libraries.sqlite import open_log


def _database(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE found (text)")
    return connection


def test_what_is_committed_goes_into_the_file_that_is_synced(tmp_path: Path) -> None:
    connection = _database(tmp_path / "a.sqlite", "WAL")
    log = open_log(connection, tmp_path / "a.sqlite")
    assert log is not None
    before = os.fstat(log).st_size
    connection.execute("INSERT INTO found VALUES ('answer that was paid')")
    grown = os.pread(log, os.fstat(log).st_size, 0)
    os.close(log)
    assert len(grown) > before and b"answer that was paid" in grown


@pytest.mark.parametrize("mode", ["DELETE", "MEMORY"])
def test_without_a_log_every_commit_is_synced_and_a_warning_says_so(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.sqlite"
    connection = _database(path, mode)
    with caplog.at_level(logging.WARNING):
        assert open_log(connection, path) is None
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: https://sqlite.org/pragma.html
    assert f"(journal mode {mode.lower()}): every answer waits for the disk" in caplog.text
    assert not path.with_name("a.sqlite-wal").exists()


def test_a_journal_without_a_log_keeps_its_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    class Elsewhere(sqlite3.Connection):
        """A SQLite that is asked for a log and keeps none."""

        def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:
            return super().execute(sql.replace("journal_mode = WAL", "journal_mode = TRUNCATE"), *rest)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "factory": Elsewhere}))
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.put("m", JournalAnswer("a", 0, b"{}", Spend(answers=1))).result()
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.answers([("a", 0)]) == {("a", 0): b"{}"}
    assert not (tmp_path / "journal.sqlite-wal").exists()
