"""What is said while pairs are proposed: one line for all rounds on a terminal, a line a round elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from latentext.cli.pairs_progress import ProposalPanel, Standing, watching
from latentext.engines.server.spend import Spend
from latentext.studies.pairs import load_task, load_tokenizers
from latentext.studies.pairs.proposing import Harvest, ProposalAnswer, Yield
from latentext.studies.pairs.rounds import Round

SPEND = Spend(answers=16, prompt_tokens=9000, completion_tokens=3000, picodollars=52_500_000_000)


def harvest(pairs: int) -> Harvest:
    """Pairs of one differing byte each, which hold under `tiny`."""
    found = Harvest(load_task("refusal"), load_tokenizers(["tiny"]), target=10)
    entries = ", ".join(f'{{"safe": "Go to {a}", "harmful": "Go to {a.upper()}"}}' for a in "abcdefghij"[:pairs])
    found.take([ProposalAnswer(f'{{"pairs": [{entries}]}}')])
    return found


def test_a_terminal_sees_scenarios_requests_yield_tokens_money_and_time_left() -> None:
    seconds, out = iter(range(0, 1000, 10)), io.StringIO()
    standing = Standing(10, clock=lambda: float(next(seconds)))
    panel = ProposalPanel(Console(file=out, force_terminal=True, width=80), standing)
    panel.start(16, 0, "texts")
    panel.judged(harvest(0), [])
    panel.advance(16, 100)
    panel.spent(SPEND)
    found = harvest(4)
    panel.judged(found, [Round(16, 10, Yield(4, 4, found.valid))])
    panel.note("a line above")
    panel.close()
    shown = out.getvalue()
    assert found.valid > 0
    assert f"{found.valid}/10" in shown
    for part in (
        "16 of 16 requests",
        f"{found.valid} valid",
        "yield",
        "9,000 prompt + 3,000 text tokens, 0.0525 USD",
        "left",
        "a line above",
    ):
        assert part in shown


def test_a_pipe_gets_a_line_a_round_without_control_characters() -> None:
    out = io.StringIO()
    with watching(out, 10, lambda: SPEND) as (_, on_round):
        found = harvest(3)
        on_round(found, [Round(1, 10, Yield(3, 3, found.valid))])
    assert out.getvalue().startswith(f"round 1: {found.valid} of 10 scenarios, 1 requests, {found.valid} valid, yield")
    assert "9,000 prompt + 3,000 text tokens, 0.0525 USD" in out.getvalue()
    assert "\x1b" not in out.getvalue()
