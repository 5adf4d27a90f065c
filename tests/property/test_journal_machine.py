"""The journal as a state machine: whatever is put, forgotten, counted and promised, in any order, with crashes between.

A crash is what a power cut leaves: the files as they stand while the journal is open, copied elsewhere and opened
there. What was synced before it must be there; what waited may be there, all of a change or nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.spend import Spend

Key = tuple[str, int]
_keys = st.tuples(st.sampled_from(["a", "b", "\x00", "né"]), st.integers(0, 2))
_costs = st.builds(Spend, answers=st.just(1), prompt_tokens=st.integers(0, 9), picodollars=st.integers(0, 10**15))


class JournalMachine(RuleBasedStateMachine):
    """`answers` and `spend` are what a journal must hold now; `waiting` are changes that nobody has waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="latentext-journal-"))
        self.answers: dict[Key, bytes] = {}
        self.spend = Spend()
        self.promised = (0, 0)
        self.opened = 0

    @initialize()
    def open(self) -> None:
        self.path = self.folder / "journal.sqlite"
        self.journal = Journal(self.path)

    @rule(key=_keys, body=st.binary(max_size=40), cost=_costs)
    def put(self, key: Key, body: bytes, cost: Spend) -> None:
        self.journal.put("m", JournalAnswer(*key, body, cost)).result()
        self.answers[key] = body
        self.spend += cost

    @rule(keys=st.lists(_keys, max_size=3))
    def forget(self, keys: list[Key]) -> None:
        self.journal.forget(keys).result()
        for key in keys:
            self.answers.pop(key, None)

    @rule(picodollars=st.integers(0, 10**15), tokens=st.integers(0, 10**9))
    def promise(self, picodollars: int, tokens: int) -> None:
        self.journal.promise(picodollars, tokens).result()
        self.promised = (picodollars, tokens)

    @rule()
    def fail(self) -> None:
        def broken(connection: object) -> None:
            connection.execute("DELETE FROM answers")  # type: ignore[attr-defined]
            raise ZeroDivisionError

        assert isinstance(self.journal.change(broken).exception(), ZeroDivisionError)

    @rule()
    def close_and_open(self) -> None:
        self.journal.close()
        self.journal = Journal(self.path)

    @rule(puts=st.lists(st.tuples(_keys, st.binary(max_size=9), _costs), max_size=4))
    def crash(self, puts: list[tuple[Key, bytes, Spend]]) -> None:
        """Copy the files while the last changes are under way, and go on with the copy."""
        futures = [self.journal.put("m", JournalAnswer(*key, body, cost)) for key, body, cost in puts]
        done_before = sum(future.done() for future in futures)
        # The log goes first: a commit that comes between the two copies is then in neither, as after a power cut.
        self.opened += 1
        copy = self.folder / f"crash{self.opened}.sqlite"
        for suffix in ("-wal", ""):
            if (source := self.path.with_name(self.path.name + suffix)).exists():
                shutil.copyfile(source, copy.with_name(copy.name + suffix))
        self.journal.close()
        self.path = copy
        self.journal = Journal(copy)
        self._settle(puts, done_before)

    def _settle(self, puts: list[tuple[Key, bytes, Spend]], done: int) -> None:
        """The copy holds all that was done, and of the rest a beginning: changes are committed in their order."""
        found, spent = self._found(), self.journal.spend()
        for kept in range(done, len(puts) + 1):
            answers, spend = dict(self.answers), self.spend
            for key, body, cost in puts[:kept]:
                answers[key] = body
                spend += cost
            if (found, spent) == (answers, spend):
                self.answers, self.spend = answers, spend
                return
        raise AssertionError(f"{done} of {len(puts)} changes were synced, and the journal holds {found}")

    def _found(self) -> dict[Key, bytes]:
        return {(key, sample): body for key, sample, body in self.journal.read("SELECT key, sample, body FROM answers")}

    @invariant()
    def it_holds_what_it_was_given(self) -> None:
        if hasattr(self, "journal"):
            assert self._found() == self.answers
            assert self.journal.answers(self.answers) == self.answers
            assert self.journal.spend() == self.spend
            assert self.journal.promised() == self.promised

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
        shutil.rmtree(self.folder)


JournalMachine.TestCase.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
test_whatever_happens_a_journal_holds_what_it_was_given = JournalMachine.TestCase
