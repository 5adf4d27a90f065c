"""Whatever a server answers, whatever it says that it took and whenever a run is killed: it bills no more than the cap.

The machine asks one journal for texts, in real time and through batches, under caps that only rise, in forked processes
that are killed at any answer. Stand-ins count what a provider would have billed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai.resources.batches
import openai.resources.files
import openai.types  # noqa: F401
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.contract import bills
from tests.contract.asking import DECODING, requests
from tests.contract.test_caps import NONSENSE
from tests.crash.processes import in_a_fork
from tests.engines.batch.made import PatientClock

from latentext.engines.batch.engine import BatchEngine
from latentext.engines.server.engine import OpenAIEngine
from latentext.engines.server.journal import read_spend
from latentext.engines.server.standin import Fault, StandIn
from latentext.engines.server.standin.batch_faults import BatchFaults, Ending
from latentext.engines.server.standin.batches import BatchDesk
from latentext.engines.server.standin.http import HttpReply, HttpRequest
from latentext.errors import BudgetError, LatentextError
from latentext.spec import ApiOptions, ModelSpec
from latentext.spec.limits import Limits

OOPS = b'{"error": {"message": "oops"}}'
LIES = [Fault.edited(name, {"usage": usage}) for name, usage in NONSENSE.items()]
FAULTS: list[Fault | None] = [
    None,
    Fault("500, billed", 500, OOPS, billed=True),
    Fault("503, billed", 503, OOPS, billed=True),
    Fault("dropped", connection="drop", billed=True),
    Fault("cut", connection="cut", billed=True),
    Fault.malformed(),
    Fault.too_many(),
    Fault.too_long(),
    Fault.refusal(),
    Fault.no_choice(),
]
BATCH_LIES = [BatchFaults(edit={"usage": usage}) for usage in NONSENSE.values()]
BATCHES = [
    BatchFaults(),
    *(BatchFaults(spoiled=word) for word in ("missing", "no body", "broken", "500")),  # type: ignore[arg-type]
    BatchFaults(endings=(Ending("expired", 1), Ending("cancelled", 0), Ending("failed"))),
    BatchFaults(short_downloads=99),
    BatchFaults(lost_creations=1, rate_limited=2, shuffled=True, doubled=True),
]


_live = st.one_of(st.sampled_from(FAULTS), st.sampled_from(LIES))
_batch = st.one_of(st.sampled_from(BATCHES), st.sampled_from(BATCH_LIES))
_first = st.integers(0, 3)
_kill = st.one_of(st.just(0), st.integers(1, 8), st.integers(9, 30))


class _Desk(BatchDesk):
    """Says whenever it got a request."""

    def __init__(self, server: StandIn, strike: Callable[[], None]):
        super().__init__(server)
        self._strike = strike

    def _handle(self, request: HttpRequest) -> HttpReply | None:
        self._strike()
        return super()._handle(request)


class AnyServer(RuleBasedStateMachine):
    """`cap` is what was given last, in tokens; `money`: it is given as what so many tokens of output cost."""

    @initialize(money=st.booleans())
    def begin(self, money: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="latentext-bills-"))
        self.money, self.cap, self.faults = money, 500, [None]
        self.left, self.child = -1, 0
        self.server = StandIn(faults=self._fault)
        self.server.__enter__()
        self.desk = _Desk(self.server, self.strike)

    def _fault(self, number: int, body: Any) -> Fault | None:
        self.strike()
        return self.faults[number % len(self.faults)]

    def strike(self) -> None:
        """The server got a request: kill the run that sent it, if its time has come."""
        self.left -= 1
        if self.left == 0:
            os.kill(self.child, signal.SIGKILL)

    @rule(more=st.integers(0, 800))
    def raise_the_cap(self, more: int) -> None:
        self.cap += more

    @rule(faults=st.lists(_live, min_size=1, max_size=5), first=_first, kill=_kill)
    def ask(self, faults: list[Fault | None], first: int, kill: int) -> None:
        self.faults = faults
        self._run("openai", first, kill)

    @rule(faults=_batch, first=_first, kill=_kill)
    def ask_by_batch(self, faults: BatchFaults, first: int, kill: int) -> None:
        self.desk.faults = faults
        self._run("openai-batch", 100 + 3 * first, kill)

    def _run(self, engine: str, first: int, kill: int) -> None:
        """A run in a fork; it is killed when the server has so many requests, unless that is 0."""
        url = self.server.url

        def run() -> None:
            options = ApiOptions(base_url=url, prices="openai", max_tries=2, concurrency=3, timeout=20)
            model = ModelSpec(name="gpt-4o", engine=engine, api=options)  # type: ignore[arg-type]
            journal = self.folder / "j"
            opened = (
                OpenAIEngine(model, journal=journal, limits=self.limits, first_wait=0.001)
                if engine == "openai"
                else BatchEngine(model, journal=journal, limits=self.limits, clock=PatientClock().clock)
            )
            try:
                list(opened.generate(requests(3, first), range(2), DECODING, 0))
            except LatentextError as error:
                assert isinstance(error, BudgetError) or error.exit_code == 1
            finally:
                opened.close()

        self.left = kill
        assert in_a_fork(run, self._started) in ((0, -signal.SIGKILL) if kill else (0,))

    def _started(self, process: int) -> None:
        self.child = process

    @property
    def limits(self) -> Limits:
        """The cap in tokens, or as much money as so many tokens of output cost at most."""
        if self.money:
            return Limits(max_cost=Decimal(self.cap) * bills.OUTPUT / 1_000_000)
        return Limits(max_tokens_total=self.cap)

    @invariant()
    def no_more_is_billed_than_the_cap(self) -> None:
        if not hasattr(self, "folder"):
            return
        if self.money:
            billed = bills.dollars(self.server.bill()) + bills.dollars(self.desk.bill, batch=True)
            assert billed <= Decimal(self.cap) * bills.OUTPUT / 1_000_000
        else:
            assert bills.tokens(self.server.bill()) + bills.tokens(self.desk.bill) <= self.cap
        if (spend := read_spend(self.folder / "j")) is not None:  # And all of it is known.
            assert bills.tokens(self.server.bill()) + bills.tokens(self.desk.bill) <= (
                spend.tokens + spend.uncertain_tokens + self._promised()
            )

    def _promised(self) -> int:
        with closing(sqlite3.connect(self.folder / "j")) as connection:
            return int(connection.execute("SELECT tokens FROM promised").fetchone()[0])

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.server.__exit__()
            shutil.rmtree(self.folder, ignore_errors=True)


AnyServer.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
AnyServer.TestCase.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]
test_no_server_bills_more_than_the_cap_whatever_it_answers_and_whenever_a_run_is_killed = AnyServer.TestCase
