"""Pairs from a model in rounds, against the stand-in server and through the built-in model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from latentext.engines.server.standin import Fault, StandIn, StandInReply
from latentext.errors import BudgetError, EngineError, SpecError
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits
from latentext.storage.liveness import this_machine
from latentext.studies.pairs import Scenario, load_task, read_scenarios, write_scenarios
from latentext.studies.pairs.checkpoint import Checkpoint
from latentext.studies.pairs.mixture import proposal_replies, rehearsal_tokenizer
from latentext.studies.pairs.proposing import ReplyKind, Yield, response_format
from latentext.studies.pairs.proposing_run import Proposals, propose_pairs
from latentext.studies.pairs.rounds import Round, next_round, recent_yield

TASK = load_task("refusal")
WORDS = rehearsal_tokenizer(TASK)
ANSWERS = proposal_replies(TASK)


def wanted(url: str, target: int, **changes: Any) -> Proposals:
    options = ApiOptions(base_url=url, max_tries=1, request={"response_format": response_format(TASK)})
    model = ModelSpec(name="gpt-4o", engine="openai", api=options)
    return replace(Proposals(TASK, (WORDS,), target, model), **changes)


def lines(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    return [json.loads(line) for line in checkpoint.requests.read_text().splitlines()]


def test_rounds_begin_small_double_and_end_with_what_is_missing() -> None:
    history: list[Round] = []
    sizes, valid = [], 0
    while valid < 1500:
        sizes.append(next_round(history, valid, 1500, 10))
        got = 3 * sizes[-1]
        valid += got
        history.append(Round(sizes[-1], 10, Yield(9 * sizes[-1], 8 * sizes[-1], got)))
    assert sizes == [16, 32, 64, 64, 64, 64, 64, 64, 64, 4]
    assert recent_yield(history) == pytest.approx(0.3)


def test_rounds_of_a_model_that_gives_nothing_stay_bounded_and_are_judged_by_enough_pairs() -> None:
    nothing = [Round(16, 10, Yield(0, 0, 0))]
    assert recent_yield(nothing) is None
    assert next_round(nothing, 0, 1500, 10) == 32
    assert recent_yield([*nothing, Round(4, 10, Yield(0, 0, 0))]) == 0
    assert recent_yield([*nothing, Round(20, 10, Yield(90, 80, 50))]) == 0.25


def test_a_run_ends_at_the_target_asks_each_request_once_and_the_same_again_asks_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with StandIn(ANSWERS) as server:
        first = propose_pairs(wanted(server.url, 120), checkpoint)
        asked = len(server.asked)
        assert set(server.billed().values()) == {1}
        again = propose_pairs(wanted(server.url, 120), checkpoint)
        assert len(server.asked) == asked == sum(first.harvest.replies.values())
    assert first.stopped is None
    assert len(first.harvest.scenarios) == 120
    assert again.harvest.scenarios == first.harvest.scenarios
    assert {ReplyKind.PAIRS, ReplyKind.MALFORMED, ReplyKind.CUT} <= set(first.harvest.replies)
    assert len(checkpoint.rounds()) > 1


def test_requests_hold_the_schema_and_later_ones_what_was_wrong_with_earlier_pairs(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with StandIn(ANSWERS) as server:
        propose_pairs(wanted(server.url, 120), checkpoint)
        body = server.asked[0].body
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["pairs"]
    assert (body["temperature"], body["max_tokens"]) == (0.8, 2048)
    first, second = (
        [line["messages"][1]["content"] for line in lines(checkpoint) if line["round"] == n] for n in (0, 1)
    )
    assert not any("were rejected" in text for text in first)
    assert all("These pairs were rejected; do not repeat their mistakes:\n- " in text for text in second)
    assert any("are not one token each in words: the sentences have" in text for text in second)
    assert len(set(second)) == len(second)


def test_more_scenarios_can_be_asked_for_later(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with StandIn(ANSWERS) as server:
        few = propose_pairs(wanted(server.url, 20), checkpoint)
        more = propose_pairs(wanted(server.url, 90), checkpoint)
        assert set(server.billed().values()) == {1}
    assert more.harvest.scenarios[:20] == few.harvest.scenarios
    assert len(more.harvest.scenarios) == 90


def test_a_cap_ends_a_run_with_what_there_is_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with StandIn(ANSWERS) as server:
        capped = propose_pairs(wanted(server.url, 200), checkpoint, limits=Limits(max_tokens_total=25_000))
        assert isinstance(capped.stopped, BudgetError)
        assert capped.stopped.exit_code == 3
        assert len(capped.harvest.scenarios) < 200
        whole = propose_pairs(wanted(server.url, 200), checkpoint, limits=Limits(max_tokens_total=1_000_000))
        assert set(server.billed().values()) == {1}
    kept = [scenario.texts for scenario in capped.harvest.scenarios]
    assert {str(texts) for texts in kept} <= {str(scenario.texts) for scenario in whole.harvest.scenarios}
    assert (whole.stopped, len(whole.harvest.scenarios)) == (None, 200)


def test_a_model_that_proposes_nothing_usable_ends_the_run(tmp_path: Path) -> None:
    def useless(body: Mapping[str, Any]) -> StandInReply:
        return StandInReply("Let me think about it.")

    with StandIn(useless) as server:
        outcome = propose_pairs(wanted(server.url, 1500), Checkpoint(tmp_path / "checkpoint"))
        assert len(server.asked) == 48  # Two rounds: the first alone asks for too little to tell.
    assert isinstance(outcome.stopped, EngineError)
    assert "0.0% valid new pairs" in str(outcome.stopped)
    assert outcome.harvest.replies == {ReplyKind.MALFORMED: 48}


def test_refusals_are_replies_and_a_round_without_any_answer_stops_until_it_is_asked_again(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with StandIn(ANSWERS, faults=lambda number, body: Fault.too_long()) as server:
        with pytest.raises(
            EngineError, match="none of the 2 requests of round 1 was answered: prompt-too-long"
        ) as raised:
            propose_pairs(wanted(server.url, 4), checkpoint)
        assert "--retry-failed" in str(raised.value)
    with StandIn(lambda body: StandInReply(None, refusal="I can't help with that.")) as server:
        outcome = propose_pairs(wanted(server.url, 4), checkpoint, retry_failed=True)
    assert set(outcome.harvest.replies) == {ReplyKind.REFUSED}


def test_another_task_seed_or_tokenizer_does_not_go_on_with_the_same_checkpoint(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with StandIn(ANSWERS) as server:
        propose_pairs(wanted(server.url, 4), checkpoint)
        for change, name in (
            ({"seed": 1}, "seed"),
            ({"task": load_task("sentiment")}, "task"),
            ({"pairs_each": 3}, "pairs"),
        ):
            with pytest.raises(SpecError, match=f"was begun with another {name}"):
                propose_pairs(wanted(server.url, 4, **change), checkpoint)
        asked = len(server.asked)
    assert asked == 2


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.write_text("x"), "is a file; a checkpoint is a folder"),
        (lambda path: (path.mkdir(), (path / "thesis.tex").write_text("x")), "holds other files"),
    ],
)
def test_a_checkpoint_is_not_made_where_something_else_is(
    prepare: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    prepare(tmp_path / "checkpoint")
    with pytest.raises(SpecError, match=message):
        Checkpoint(tmp_path / "checkpoint").begin({"seed": 0})


def scenarios_of(count: int) -> list[Scenario]:
    return [
        Scenario(number, "refusal", {"single_token": ("a", "b"), "multi_token": ("a", "b")}) for number in range(count)
    ]


def noted_and_killed(checkpoint: Checkpoint, output: Path, sha256: str) -> None:
    """What is on the disk when a run is killed between its note and the file."""
    checkpoint.note_output(output, sha256)
    raise KeyboardInterrupt


def test_the_folder_of_a_run_that_was_killed_at_its_first_file_or_by_0_1_0_at_its_last_is_taken(tmp_path: Path) -> None:
    dead = f".proposal.json.{this_machine()}-4194305-1-0123abcd.tmp"
    (tmp_path / dead).write_text("half")
    Checkpoint(tmp_path).begin({"seed": 0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proposal.json"]
    (tmp_path / "output.json").write_bytes(b"")  # Version 0.1.0 emptied it before it was written.
    (tmp_path / "dataset.jsonl").write_text("not noted")
    assert not Checkpoint(tmp_path).may_replace(tmp_path / "dataset.jsonl")


def test_only_what_the_run_wrote_itself_may_be_replaced(tmp_path: Path) -> None:
    checkpoint, output = Checkpoint(tmp_path), tmp_path / "dataset.jsonl"
    assert not checkpoint.may_replace(output)
    first, second = scenarios_of(1), scenarios_of(2)
    write_scenarios(output, first)
    assert not checkpoint.may_replace(output)
    output.unlink()
    write_scenarios(output, first, note=partial(checkpoint.note_output, output))
    assert checkpoint.may_replace(output)
    with pytest.raises(KeyboardInterrupt):
        write_scenarios(output, second, overwrite=True, note=partial(noted_and_killed, checkpoint, output))
    assert len(list(read_scenarios(output))) == 1 and checkpoint.may_replace(output)
    write_scenarios(output, second, overwrite=True, note=partial(checkpoint.note_output, output))
    assert checkpoint.may_replace(output)
    output.write_text("edited by hand")
    assert not checkpoint.may_replace(output)


def test_the_built_in_model_runs_the_path_without_a_network_and_comes_to_an_end(tmp_path: Path) -> None:
    proposals = Proposals(
        TASK, (WORDS,), 5, ModelSpec(name="tiny"), Decoding(temperature=0.8, max_new_tokens=8), pairs_each=100
    )
    outcome = propose_pairs(proposals, Checkpoint(tmp_path / "checkpoint"))
    assert isinstance(outcome.stopped, EngineError)
    assert ReplyKind.FAILED not in outcome.harvest.replies
    assert sum(outcome.harvest.replies.values()) >= 2
