"""Budgets are hard caps, whatever order things happen in and whenever a run is killed."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentext.engines.server.bounds import Worst
from latentext.engines.server.budget import Budget, refuse_unpriced
from latentext.engines.server.journal import Journal, JournalAnswer, read_spend
from latentext.engines.server.prices import shipped_prices
from latentext.engines.server.spend import Spend, picodollars
from latentext.errors import BudgetError, SpecError
from latentext.spec.limits import Limits

CENT = picodollars(Decimal("0.01"))


def test_worst_cases_under_way_count_and_are_given_back_on_usage(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        budget = Budget(journal, Limits(max_cost=Decimal("0.10")))
        assert budget.reserve(Worst(100, 6 * CENT))
        assert not budget.reserve(Worst(100, 5 * CENT))
        budget.settle(Worst(100, 6 * CENT), Spend(answers=1, picodollars=2 * CENT))
        assert budget.reserve(Worst(100, 5 * CENT))
        assert not budget.reserve(Worst(1, 9 * CENT))
        assert "0.10" in str(budget.exhausted())
        assert budget.exhausted().exit_code == 3


def test_a_cap_is_taken_as_it_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        budget = Budget(journal, Limits(max_cost=0.1))  # type: ignore[arg-type]
        assert not budget.reserve(Worst(1, 10 * CENT + 1))
        assert budget.reserve(Worst(1, 10 * CENT))


def test_earlier_runs_count(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.count("m", Spend(answers=1, prompt_tokens=90)).result()
        budget = Budget(journal, Limits(max_tokens_total=100))
        assert not budget.reserve(Worst(11, 0))
        assert budget.reserve(Worst(10, 0))
        assert "--max-tokens-total" in str(budget.exhausted())


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40), st.booleans()), max_size=40))
def test_spent_and_under_way_never_exceed_the_cap(steps: list[tuple[int, int, bool]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "j")) as journal:
        budget, under_way = Budget(journal, Limits(max_tokens_total=100)), []
        for worst, real, settle in steps:
            if budget.reserve(Worst(worst, 0)):
                under_way.append((worst, min(real, worst)))
            if settle and under_way:
                reserved, used = under_way.pop(0)
                budget.settle(Worst(reserved, 0), Spend(answers=1, prompt_tokens=used))
            assert budget.spent.tokens + sum(w for w, _ in under_way) <= 100


def test_what_was_under_way_in_a_killed_run_counts_as_spent(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from latentext.engines.server.budget import *; from latentext.engines.server.journal import Journal;"
        "budget = Budget(Journal(Path(sys.argv[1])), Limits(max_tokens_total=1000));"
        "assert budget.reserve(Worst(70, 5)) and budget.reserve(Worst(30, 5)); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "j")], check=False)
    with Journal(tmp_path / "j") as journal:
        spent = Budget(journal, Limits(max_tokens_total=1000)).spent
        assert (spent.uncertain_tokens, spent.uncertain_picodollars) == (100, 10)
        assert spent.answers == 0
    with Journal(tmp_path / "j") as journal:  # Counted once, not at every start.
        assert Budget(journal, Limits()).spent == spent


def test_a_run_that_ended_well_leaves_no_promise(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        budget = Budget(journal, Limits())
        budget.reserve(Worst(10, 10))
        assert journal.promised() != (0, 0)
        budget.settle(Worst(10, 10), Spend(answers=1, prompt_tokens=3))
        budget.close()
        assert journal.promised() == (0, 0)


def test_a_batch_counts_at_its_bound_until_it_is_counted_whoever_opens_the_journal(tmp_path: Path) -> None:
    paid = Spend(answers=1, prompt_tokens=7)
    with Journal(tmp_path / "j") as journal:
        assert Budget(journal, Limits(max_tokens_total=100)).send_batch("tag", Worst(60, 4))
        assert journal.promised() == (0, 0)
    assert read_spend(tmp_path / "j") == Spend(uncertain_tokens=60, uncertain_picodollars=4)
    with Journal(tmp_path / "j") as journal:
        budget = Budget(journal, Limits(max_tokens_total=100))
        assert not budget.reserve(Worst(41, 0)) and not budget.send_batch("other", Worst(41, 0))
        for _ in range(2):  # A second time changes nothing.
            budget.count_batch("tag", "m", [JournalAnswer("a", 0, b"{}", paid)], Spend(uncertain_tokens=30))
        assert budget.spent == journal.spend() == paid + Spend(uncertain_tokens=30)
        assert budget.reserve(Worst(63, 0)) and not budget.reserve(Worst(1, 0))
    assert read_spend(tmp_path / "j") == paid + Spend(uncertain_tokens=30)


def test_a_batch_that_was_refused_counts_no_more(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        budget = Budget(journal, Limits(max_tokens_total=100))
        assert budget.send_batch("tag", Worst(60, 0)) and not budget.send_batch("other", Worst(60, 0))
        budget.give_back_batch("tag")
        assert budget.send_batch("other", Worst(60, 0))


def test_a_cap_on_money_needs_a_price() -> None:
    with pytest.raises(SpecError, match="--max-tokens-total"):
        refuse_unpriced(Limits(max_cost=Decimal(1)), None, "my-model")
    refuse_unpriced(Limits(max_cost=Decimal(1)), shipped_prices().of("gpt-4o"), "gpt-4o")
    refuse_unpriced(Limits(max_tokens_total=5), None, "my-model")
    assert issubclass(BudgetError, Exception)


@pytest.mark.parametrize("cap", ["nan", "inf", "-1"])
def test_a_cap_that_is_no_amount_is_refused_in_one_line(cap: str) -> None:
    with pytest.raises(SpecError, match=r"--max-cost: is (NaN|Infinity|-1); give a number"):
        Limits(max_cost=Decimal(cap))
