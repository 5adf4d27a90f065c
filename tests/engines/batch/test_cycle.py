"""Whole cycles against the stand-in server, undisturbed and with everything that a server may do to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.batch.made import paid_once, serving, tally, workspace

from latentext.engines.batch.clock import Clock
from latentext.engines.batch.downloading import download
from latentext.engines.batch.ledger import BatchStatus, Step
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.polling import cancel, refresh
from latentext.engines.batch.remote import RefusedError
from latentext.engines.batch.settling import reopen, settle
from latentext.engines.batch.submitting import LOOKUP_SECONDS, reconcile, submit
from latentext.engines.batch.workspace import BusyError
from latentext.engines.server.standin.batch_faults import Ending, RequestFault
from latentext.errors import BudgetError, EngineError


def test_every_request_is_answered_and_paid_once(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=7, per_file=3)
    with serving() as server:
        ledger = server.run(place)
        assert [part.requests for part in ledger.parts] == [3, 3, 1]
        assert ledger.settled
        assert tally(place) == {"answered": 7}
        assert (server.desk.created, server.desk.files.uploads) == (3, 3)
        assert paid_once(server.desk, place)


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving() as server:
        server.run(place)
        server.run(place)
        assert server.desk.created == 3


@pytest.mark.parametrize("fault", ["lost_creations", "failed_creations"])
def test_a_batch_whose_reply_was_lost_is_found_and_not_made_again(tmp_path: Path, fault: str) -> None:
    place = workspace(tmp_path)
    with serving(**{fault: 2}, hidden_lists=3) as server:
        server.run(place)
        assert server.desk.created == 3
        assert paid_once(server.desk, place)
        assert sum("found batch_" in line for line in server.told) == 2


def test_a_batch_that_the_lists_never_show_is_sent_again_after_ten_minutes_and_not_before(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=1)
    with serving(lost_creations=1, hidden_lists=10**6) as server, place.alone():
        ledger = reconcile(place, place.ledger(), server.remote, server.clock.clock, server.told.append)
        before = server.clock.waited
        ledger = submit(place, ledger, server.remote, server.clock.clock, server.told.append)
        assert server.clock.waited - before >= LOOKUP_SECONDS
        assert ledger.part(0).asked == 2


def test_of_two_batches_with_one_tag_the_second_is_cancelled_when_the_first_turns_up_late(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=2)
    with serving(lost_creations=1, hidden_lists=10**6) as server:
        with place.alone():
            submit(place, place.ledger(), server.remote, server.clock.clock, server.told.append)
        server.desk.reveal()
        ledger = server.run(place)
        assert server.desk.created == 2
        assert ledger.settled
        assert any("is cancelled" in line for line in server.told)
        assert paid_once(server.desk, place)


def test_a_file_whose_reply_was_lost_is_deleted_by_its_name_and_sent_again(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving(lost_uploads=1) as server:
        server.run(place)
        inputs = [file for file in server.desk.files.files.values() if file.purpose == "batch"]
        assert (server.desk.files.uploads, server.desk.files.deletions, len(inputs)) == (4, 1, 3)
        assert paid_once(server.desk, place)


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving(rate_limited=3) as server:
        server.run(place)
        assert server.desk.created == 3
        assert tally(place) == {"answered": 7}


def test_the_rest_of_an_expired_batch_is_asked_again_alone(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=6, per_file=6)
    with serving(endings=(Ending("expired", answered=4),)) as server:
        ledger = server.run(place)
        assert [(part.requests, part.attempt, part.retry_of) for part in ledger.parts] == [(6, 1, ()), (2, 2, (0,))]
        assert tally(place) == {"answered": 6}
        assert paid_once(server.desk, place)


def test_requests_that_failed_for_a_while_are_gathered_in_one_file(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=6, per_file=2)
    failing = RequestFault(500, {"message": "The server had an error"})
    with serving(requests={"request-0-1": failing, "request-2-0": failing}) as server:
        ledger = server.run(place)
        assert ledger.parts[-1].requests == 2
        assert ledger.parts[-1].retry_of == (0, 2)
        assert tally(place) == {"answered": 6}
        assert paid_once(server.desk, place)


def test_a_request_is_asked_a_set_number_of_times(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=2)
    failing = RequestFault(503, {"message": "Overloaded"}, times=99)
    with serving(requests={"request-0-1": failing}) as server:
        ledger = server.run(place, attempts=4)
        assert [part.attempt for part in ledger.parts] == [1, 2, 3, 4]
        assert ledger.parts[-1].unanswered == {"server": 1}
        assert tally(place) == {"answered": 1, "server": 1}


def test_what_the_server_will_always_refuse_is_not_asked_again(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=2)
    refused = RequestFault(400, {"message": "This model's maximum context length is 8192 tokens"}, times=99)
    with serving(requests={"request-0-0": refused}) as server:
        ledger = server.run(place)
        assert ledger.part(0).unanswered == {"context": 1}
        assert server.desk.created == 1


def test_lines_in_any_order_doubled_unknown_and_cut_still_give_every_answer(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving(shuffled=True, doubled=True, unknown=True, half_line=True) as server:
        server.run(place)
        assert tally(place) == {"answered": 7}
        assert server.desk.created == 3


def test_an_answer_that_is_missing_is_asked_for_again(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving(missing=frozenset({"request-1-2"})) as server:
        ledger = server.run(place)
        assert [part.requests for part in ledger.parts] == [3, 3, 1, 1]
        assert tally(place) == {"answered": 7}


@pytest.mark.parametrize("silently", [True, False])
def test_a_download_that_breaks_off_is_noticed_and_done_again(tmp_path: Path, silently: bool) -> None:
    place = workspace(tmp_path)
    with serving(short_downloads=2, silently_short=silently) as server:
        server.run(place)
        assert tally(place) == {"answered": 7}
        assert server.desk.created == 3
        assert sum("fetching it again" in line for line in server.told) == 2


def test_where_the_server_tells_no_sizes_lines_are_counted(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving(short_downloads=1, silently_short=True, sizes=False) as server:
        server.run(place)
        assert tally(place) == {"answered": 7}
        assert any("of 3 lines came" in line for line in server.told)


def test_a_download_that_never_comes_whole_stops_the_run_and_leaves_no_half_file(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving(short_downloads=99) as server, pytest.raises(EngineError, match="incomplete 5 times"):
        server.run(place)
    assert list(place.outputs.iterdir()) == []
    assert place.ledger().part(0).step is Step.SUBMITTED


def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    refused = Ending("failed", code="token_limit_exceeded", message="Enqueued token limit reached")
    with serving(endings=(Ending(), refused, refused)) as server:
        ledger = server.run(place)
        assert ledger.settled
        assert tally(place) == {"answered": 7}
        assert paid_once(server.desk, place)
        assert server.clock.waited > 60


def test_a_queue_that_stays_full_ends_with_a_remedy(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=1)
    refused = Ending("failed", code="token_limit_exceeded", message="Enqueued token limit reached")
    with serving(endings=(refused,) * 30) as server, pytest.raises(EngineError, match="--enqueued-tokens"):
        server.run(place)


def test_no_more_is_enqueued_than_the_account_allows(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=4, per_file=1)
    tokens = place.ledger().part(0).prompt_tokens
    with serving() as server, place.alone():
        ledger, limits = place.ledger(), 2 * tokens
        ledger = submit(place, ledger, server.remote, server.clock.clock, server.told.append, enqueued_tokens=limits)
        assert [part.step for part in ledger.parts] == [Step.SUBMITTED, Step.SUBMITTED, Step.PLANNED, Step.PLANNED]
    with serving() as server:
        place = workspace(tmp_path / "again", requests=4, per_file=1)
        server.run(place, limits=BatchLimits(enqueued_tokens=limits))
        assert tally(place) == {"answered": 4}


def test_a_batch_that_the_server_refuses_keeps_its_reason_and_can_be_sent_again(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=4, per_file=2)
    with serving(endings=(Ending("failed", code="model_not_found", message="The model does not exist"),)) as server:
        ledger = server.run(place)
        assert (ledger.part(0).status, ledger.part(0).problem) == (BatchStatus.FAILED, "The model does not exist")
        assert ledger.part(0).unanswered == {"refused": 2}
        assert tally(place) == {"answered": 2, "missing": 2}
        with place.alone():
            reopen(place, ledger, server.told.append, BatchLimits())
        server.run(place)
        assert tally(place) == {"answered": 4}
        assert paid_once(server.desk, place)


@pytest.mark.parametrize("where", ["batch", "request"])
def test_an_empty_account_stops_with_exit_code_3_and_the_same_command_goes_on(tmp_path: Path, where: str) -> None:
    place = workspace(tmp_path, requests=4, per_file=2)
    words = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    faults = {
        "batch": {"endings": (Ending(), Ending("failed", code="billing_hard_limit_reached", message="Billing limit"))},
        "request": {"requests": {"request-1-0": RequestFault(429, words)}},
    }
    with serving(**faults[where]) as server:
        with pytest.raises(BudgetError) as stopped:
            server.run(place)
        assert stopped.value.exit_code == 3
        server.run(place)
        assert tally(place) == {"answered": 4}
        assert paid_once(server.desk, place)


def test_what_a_cancelled_batch_had_answered_is_fetched_and_the_rest_is_not_asked_again(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=3)
    with serving(endings=(Ending(answered=2),)) as server:
        with place.alone():
            ledger = submit(place, place.ledger(), server.remote, server.clock.clock, server.told.append)
            ledger = cancel(place, ledger, server.remote, server.told.append)
            assert ledger.part(0).status is BatchStatus.CANCELLING
        ledger = server.run(place)
        assert ledger.part(0).status is BatchStatus.CANCELLED
        assert ledger.part(0).unanswered == {"cancelled": 1}
        assert tally(place)["answered"] == 2
        assert server.desk.created == 1


def test_cancelling_a_batch_that_has_just_ended_says_how_it_ended(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=1)
    with serving() as server, place.alone():
        ledger = submit(place, place.ledger(), server.remote, server.clock.clock, server.told.append)
        for _ in range(3):
            server.remote.batch(ledger.part(0).batch_id or "")
        ledger = cancel(place, ledger, server.remote, server.told.append)
        assert ledger.part(0).status is BatchStatus.COMPLETED


def test_all_eight_states_are_met(tmp_path: Path) -> None:
    seen: set[BatchStatus] = set()
    endings = (Ending(), Ending("failed"), Ending("expired", 0), Ending())
    place = workspace(tmp_path, requests=4, per_file=1)
    with serving(endings=endings) as server, place.alone():
        clock = server.clock.clock
        ledger = submit(place, place.ledger(), server.remote, clock, server.told.append)
        for turn in range(5):
            seen |= {part.status for part in ledger.parts if part.status}
            if turn == 1:
                server.remote.cancel(ledger.part(3).batch_id or "")
                only = ledger.model_copy(update={"parts": (ledger.part(3),)})
                seen |= {part.status for part in cancel(place, only, server.remote, print).parts if part.status}
                place.save(ledger)
            ledger = refresh(place, ledger, server.remote, server.told.append)
    assert seen == set(BatchStatus)


def test_a_batch_that_the_server_has_forgotten_counts_as_failed(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=1)
    with serving() as server, place.alone():
        submit(place, place.ledger(), server.remote, server.clock.clock, server.told.append)
    with serving() as another, place.alone():
        ledger = refresh(place, place.ledger(), another.remote, another.told.append)
        assert ledger.part(0).status is BatchStatus.FAILED
        assert "does not know" in (ledger.part(0).problem or "")


def test_a_cap_is_kept_and_what_is_paid_is_fetched_all_the_same(tmp_path: Path) -> None:
    def only_the_first(ledger: object, part: object) -> None:
        if getattr(part, "number", 0) > 0:
            raise BudgetError("the cap is reached")

    place = workspace(tmp_path)
    with serving() as server:
        with pytest.raises(BudgetError):
            server.run(place, afford=only_the_first)
        assert server.desk.created == 1
        assert tally(place) == {"answered": 3, "missing": 4}
        server.run(place)
        assert paid_once(server.desk, place)


def test_two_commands_cannot_work_on_the_same_batches(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with place.alone(), pytest.raises(BusyError), place.alone():
        pass
    with place.alone():
        pass


def test_a_file_that_the_server_does_not_take_stops_before_anything_is_paid(tmp_path: Path) -> None:
    place = workspace(tmp_path, requests=1)
    with serving() as server, place.alone():
        part = place.ledger().part(0).model_copy(update={"step": Step.UPLOADED, "file_id": "file-gone"})
        ledger = place.save_part(place.ledger(), part)
        ledger = submit(place, ledger, server.remote, server.clock.clock, server.told.append)
        assert ledger.part(0).step is Step.SUBMITTED  # A file that is gone is sent again.
        with pytest.raises(RefusedError):
            server.remote.create("file-gone", "/v1/chat/completions", "tag")


def test_settling_twice_changes_nothing(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with serving() as server, place.alone():
        server.told.clear()
    with serving() as server:
        ledger = server.run(place)
        with place.alone():
            again = settle(place, ledger, server.clock.clock, print, attempts=3, limits=BatchLimits())
        assert again == ledger


def test_a_download_that_only_trickles_is_given_up_in_time(tmp_path: Path) -> None:
    """Every look at this clock takes four hundred seconds, so that a whole file seems to come too slowly."""
    place = workspace(tmp_path)
    with serving() as server:
        ledger = submit(place, place.ledger(), server.remote, server.clock.clock, server.told.append)
        for _ in range(4):
            ledger = refresh(place, ledger, server.remote, server.told.append)
        looked = iter(range(0, 10_000_000, 400))
        slow = Clock(now=lambda: next(looked), sleep=lambda seconds: None)
        with pytest.raises(EngineError, match=r"incomplete 5 times: .* which is too slow"):
            download(place, ledger, server.remote, slow, server.told.append)
    assert list(place.outputs.iterdir()) == []
