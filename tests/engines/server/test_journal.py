"""The journal: what it was given is there after a kill, and one process at a time writes it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from latentext.engines.server import journal as local_disk
from latentext.engines.server.journal import Journal, JournalAnswer, read_spend, refuse_network_file_system
from latentext.engines.server.spend import Spend
from latentext.errors import DatasetError, SpecError

PAID = Spend(answers=1, prompt_tokens=10, completion_tokens=5, picodollars=7)

_WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.spend import Spend
journal = Journal(Path(sys.argv[1]))
for number in range(100000):
    journal.put("m", JournalAnswer(f"k{number}", 0, b"body", Spend(answers=1, prompt_tokens=1))).result()
    print(number, flush=True)
"""

_KILLED_BEFORE_THE_SYNC = """
import os, signal, sys, time
from pathlib import Path
from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.spend import Spend
journal = Journal(Path(sys.argv[1]))
os.fsync = lambda descriptor: time.sleep(60)
journal.put("m", JournalAnswer("k", 0, b"body", Spend(answers=1, prompt_tokens=1)))
os.kill(os.getpid(), signal.SIGKILL)
"""

_CLOSED_WHILE_READ = """
import sys, threading
from pathlib import Path
from latentext.engines.server.journal import Journal
from latentext.errors import DatasetError
COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000) SELECT COUNT(*) FROM c"
journal, found, begun = Journal(Path(sys.argv[1])), [], threading.Event()
def read():
    try:
        while True:
            begun.set()
            found.extend(journal.read(COUNT))
    except DatasetError as error:
        found.append(error.what)
readers = [threading.Thread(target=read) for _ in range(3)]
for reader in readers:
    reader.start()
begun.wait()
journal.close()
for reader in readers:
    reader.join()
assert set(found[-3:]) == {"the journal is closed"}, found
assert set(found[:-3]) <= {(2000000,)}, found
"""


def test_answers_and_what_they_cost_are_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.sqlite"
    with Journal(path) as journal:
        for number in range(50):
            journal.put("gpt-4o", JournalAnswer(f"k{number}", number % 2, b"{}", PAID))
    with Journal(path) as journal:
        assert journal.answers([("k3", 1), ("k3", 0), ("absent", 0)]) == {("k3", 1): b"{}"}
        assert journal.spend() == Spend(answers=50, prompt_tokens=500, completion_tokens=250, picodollars=350)


def test_answers_that_come_while_the_disk_is_busy_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free, sync = threading.Event(), os.fsync
    with Journal(tmp_path / "j") as journal:
        monkeypatch.setattr(os, "fsync", lambda descriptor: (free.wait(), sync(descriptor)))
        waiting = [journal.put("m", JournalAnswer(f"k{n}", 0, b"{}", PAID)) for n in range(500)]
        assert not waiting[0].done()
        assert journal.spend().answers == 500
        free.set()
        assert [done.result() for done in waiting] == [None] * 500
        assert journal.syncs <= 2


def test_after_a_sync_that_failed_nothing_more_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(tmp_path / "j") as journal:
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(DatasetError, match="Input/output error"):
            journal.put("m", JournalAnswer("a", 0, b"{}", PAID)).result()
        monkeypatch.undo()
        with pytest.raises(DatasetError, match="Input/output error"):
            journal.put("m", JournalAnswer("b", 0, b"{}", PAID)).result()


def test_a_change_is_kept_by_a_kill_as_soon_as_the_call_returns(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    process = subprocess.run([sys.executable, "-c", _KILLED_BEFORE_THE_SYNC, str(path)])
    assert process.returncode == -signal.SIGKILL
    with Journal(path) as journal:
        assert journal.answers([("k", 0)]) == {("k", 0): b"body"}
        assert journal.spend() == Spend(answers=1, prompt_tokens=1)


def test_forgotten_answers_stay_paid(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.put("m", JournalAnswer("a", 0, b"{}", PAID)).result()
        journal.forget([("a", 0)]).result()
        assert journal.answers([("a", 0)]) == {}
        assert journal.spend() == PAID


def test_a_killed_process_leaves_every_answer_it_has_seen_committed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    seen += [int(line) for line in process.stdout]
    process.wait()
    process.stdout.close()
    with Journal(path) as journal:
        assert len(journal.answers((f"k{n}", 0) for n in seen)) == len(seen)
        assert journal.spend().answers in (len(seen), len(seen) + 1)


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.put("m", JournalAnswer("a", 0, b"{}", PAID)).result()
        with pytest.raises(DatasetError, match="another process"):
            Journal(path)
        assert read_spend(path) == PAID
    with Journal(path):
        pass


def test_a_change_that_fails_keeps_nothing_and_the_journal_goes_on(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        with pytest.raises(DatasetError):
            journal.change(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")).result()
        journal.put("m", JournalAnswer("a", 0, b"{}", PAID)).result()
        assert journal.spend() == PAID
    with pytest.raises(DatasetError, match="closed"):
        journal.put("m", JournalAnswer("b", 0, b"{}", PAID)).result()


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is not a database, " * 100)
    with pytest.raises(DatasetError, match=r"journal\.sqlite"):
        Journal(path)


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.change(lambda connection: None).result()
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DatasetError, match="later version"):
        Journal(path)


def test_a_network_file_system_is_refused_with_the_option_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path}/far nfs4 rw 0 0\n")
    monkeypatch.setattr(local_disk, "MOUNTS", mounts)
    (tmp_path / "far").mkdir()
    refuse_network_file_system(tmp_path / "near.sqlite")
    with pytest.raises(SpecError, match=r"nfs4.*--journal PATH"):
        refuse_network_file_system(tmp_path / "far" / "new" / "journal.sqlite")


def test_there_is_nothing_to_read_where_no_journal_is(tmp_path: Path) -> None:
    assert read_spend(tmp_path / "journal.sqlite") is None


@pytest.mark.slow
def test_closing_waits_for_who_reads_and_refuses_who_comes_later(tmp_path: Path) -> None:
    """A capped run closes its journal while other shards are at work: SQLite crashed the process."""
    for number in range(5):
        command = [sys.executable, "-c", _CLOSED_WHILE_READ, str(tmp_path / f"j{number}")]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-500:]
