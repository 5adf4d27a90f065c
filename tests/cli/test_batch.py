"""``latentext batch``: every command as a user gives it, against a stand-in server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from latentext.cli.app import exit_code
from latentext.engines.batch import clock
from latentext.engines.server.standin import StandIn
from latentext.engines.server.standin.batch_faults import BatchFaults, Ending
from latentext.engines.server.standin.batches import BatchDesk
from latentext.studies.pairs import load_task
from latentext.studies.pairs.mixture import proposal_replies

SMALL = ["--num-batches", "2", "--requests-per-batch", "2"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn(proposal_replies(load_task("refusal"))) as server:
        yield server


@pytest.fixture(scope="module")
def qwen2(materials: Path) -> Path:
    return materials / "tokenizers" / "qwen2"


def words(*arguments: object) -> int:
    return exit_code([str(argument) for argument in ("batch", *arguments)])


def test_requests_are_written_as_the_seed_lays_them_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert words("create") == 0
    names = sorted(path.name for path in Path("requests/refusal").glob("[!.]*"))
    assert names == ["batch_metadata.json", *(f"request_batch{n}.jsonl" for n in range(10))]
    lines = [json.loads(line) for line in Path("requests/refusal/request_batch3.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [f"request-3-{n}" for n in range(50)]
    body = lines[0]["body"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-4o", 0.8, 2048)
    assert body["response_format"]["type"] == "json_schema"
    assert "Write 10 new pairs." in body["messages"][-1]["content"]
    assert len({line["body"]["messages"][-1]["content"] for line in lines}) == 50
    out = capsys.readouterr().out
    assert "500 requests in 10 files" in out
    assert "5,000 pairs" in out
    assert "at most 6.2" in out  # 500 × 2048 output tokens at 5 dollars a million, and the prompts
    assert out.rstrip().endswith("next: latentext batch submit")


def test_the_steps_one_by_one_end_in_a_dataset(
    server: StandIn, qwen2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = BatchDesk(server)
    assert words("create", *SMALL) == 0
    assert words("submit", "--base-url", server.url) == 0
    assert "2 validating; 0 of 4 requests answered" in capsys.readouterr().out
    assert words("submit", "--base-url", server.url) == 0
    assert desk.created == 2
    for _ in range(3):
        assert words("status") == 0  # The address is remembered.
    assert "next: latentext batch download" in capsys.readouterr().out
    assert words("download") == 0
    out = capsys.readouterr().out
    assert "spent:" in out
    assert "next: latentext batch process" in out
    assert sorted(path.name for path in Path("batch_outputs/refusal").iterdir()) == [
        "output_batch0.jsonl",
        "output_batch1.jsonl",
    ]
    assert words("process", "--target-scenarios", 5, "--tokenizer", f"qwen={qwen2}") == 0
    lines = [json.loads(line) for line in Path("dataset.jsonl").read_text().splitlines()]
    assert [line["scenario_id"] for line in lines] == [number for number in range(5) for _ in range(4)]
    assert [line["type"] for line in lines[:4]] == [
        "single_token_prompt",
        "single_token_counterfactual",
        "multi_token_prompt",
        "multi_token_counterfactual",
    ]
    assert words("process", "--target-scenarios", 5, "--tokenizer", f"qwen={qwen2}") == 2
    assert "dataset.jsonl: exists already" in capsys.readouterr().err


def test_a_target_that_is_missed_gives_what_there_is_and_exit_code_1(
    server: StandIn, qwen2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BatchDesk(server)
    words("create", "--num-batches", 1, "--requests-per-batch", 1)
    words("submit", "--base-url", server.url)
    for _ in range(3):
        words("status")
    words("download")
    capsys.readouterr()
    assert words("process", "--tokenizer", f"qwen={qwen2}") == 1
    assert "latentext batch create --add asks for more pairs" in capsys.readouterr().out
    assert Path("dataset.jsonl").exists()
    assert words("create", "--add", "--num-batches", 1, "--requests-per-batch", 2) == 0
    lines = Path("requests/refusal/request_batch1.jsonl").read_text().splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == ["request-1-0", "request-1-1"]
    first = Path("requests/refusal/request_batch0.jsonl").read_text()
    assert json.loads(lines[0])["body"]["messages"] != json.loads(first)["body"]["messages"]


def test_answers_that_are_there_are_never_replaced_by_those_of_other_batches(
    server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    BatchDesk(server)
    words("create", *SMALL)
    words("submit", "--base-url", server.url)
    for _ in range(3):
        words("status")
    paid = '{"id": "batch_req_1", "custom_id": "request-0-0", "response": {"status_code": 200, "body": {}}}\n'
    output = Path("batch_outputs/refusal/output_batch1.jsonl")
    output.parent.mkdir(parents=True)
    output.write_text(paid)
    capsys.readouterr()
    assert words("download") == 1
    assert "output_batch1.jsonl: holds answers of other batches" in capsys.readouterr().err
    assert words("local", "--model", "tiny", "--max-tokens", 4) == 1
    assert "output_batch0.jsonl: is no file of answers of this machine" in capsys.readouterr().err
    assert output.read_text() == paid
    output.unlink()
    assert words("download") == 0


def test_a_run_that_came_to_a_cap_goes_on_over_what_it_wrote_itself(
    server: StandIn, qwen2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    BatchDesk(server)
    monkeypatch.setattr(clock, "Clock", partial(clock.Clock, sleep=lambda seconds: None))
    options = ["run", "--base-url", server.url, "--num-batches", 1, "--requests-per-batch", 2]
    options += ["--tokenizer", f"qwen={qwen2}", "--target-scenarios", 12, "--rounds", 9]
    code = words(*options, "--max-tokens-total", 8000)
    assert code == 3, capsys.readouterr().err
    assert Path("dataset.jsonl").exists()
    assert words(*options) == 0, capsys.readouterr().err


def test_files_of_a_rehearsals_folder_that_it_did_not_write_stay(tmp_path: Path) -> None:
    notes = Path("rehearsal/requests/refusal/notes.json")
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    for _ in range(2):
        assert words("run", "--rehearse", *SMALL, "--target-scenarios", 4) == 0
    assert notes.read_text() == "mine"


def test_a_rehearsal_needs_no_key_no_network_and_no_tokenizer(capsys: pytest.CaptureFixture[str]) -> None:
    assert words("run", "--rehearse", *SMALL, "--target-scenarios", 8) == 0
    out = capsys.readouterr().out
    assert "8 scenarios in rehearsal/dataset.jsonl" in out
    assert "nothing was paid" in out
    assert "50%" in out  # The projected cost of the real run over a range of yields.
    assert not Path("requests").exists()
    assert not Path("dataset.jsonl").exists()
    assert words("run", "--rehearse", *SMALL, "--target-scenarios", 8) == 0


def test_without_a_key_there_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    words("create", *SMALL)
    capsys.readouterr()
    assert words("submit") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert "OPENAI_API_KEY" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status"], "requests: holds no batches; begin with latentext batch create"),
        (["submit", "--task", "nosuch"], "holds no batches of nosuch"),
        (["process", "--tokenizer", "tiny"], "holds no .jsonl files; run latentext batch download first"),
        (["create", "--task", "nosuch"], "known: refusal, sentiment"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words(*arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_batches_that_were_sent_are_never_overwritten(server: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    BatchDesk(server)
    words("create", *SMALL)
    assert words("create", *SMALL) == 2
    assert words("create", *SMALL, "--force") == 0
    words("submit", "--base-url", server.url)
    assert words("create", *SMALL, "--force") == 2
    assert "holds batches that were sent" in capsys.readouterr().err
    assert words("status", "--base-url", "http://127.0.0.1:1/v1") == 2
    assert "were sent to" in capsys.readouterr().err


def test_a_cap_on_money_stops_before_a_batch_is_sent_with_exit_code_3(
    server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = BatchDesk(server)
    words("create", *SMALL)
    # A file of two requests may cost 2 × (2048 × 5 + about 2,400 × 1.25) dollars a million: 2.6 cents.
    assert words("submit", "--base-url", server.url, "--prices", "openai", "--max-cost", "0.03") == 3
    assert desk.created == 1
    assert "batch 1 may cost up to" in capsys.readouterr().err
    assert words("submit", "--max-cost", "0.06", "--prices", "openai") == 0
    assert desk.created == 2


def test_a_cap_without_a_price_is_refused(server: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    desk = BatchDesk(server)
    words("create", *SMALL)
    assert words("submit", "--base-url", server.url, "--max-cost", "1") == 2
    assert desk.created == 0
    assert "the price of 'gpt-4o' is not known" in capsys.readouterr().err


def test_a_cancelled_batch_is_fetched_in_part_and_asked_again_only_on_demand(
    server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = BatchDesk(server, BatchFaults(endings=(Ending(answered=1),)))
    words("create", "--num-batches", 1, "--requests-per-batch", 3)
    words("submit", "--base-url", server.url)
    assert words("cancel") == 0
    assert words("download") == 0
    out = capsys.readouterr().out
    assert "1 cancelled and fetched; 1 of 3 requests answered" in out
    assert "given up: 2 cancelled" in out
    assert words("submit") == 0
    assert desk.created == 1
    assert words("submit", "--retry-failed") == 0
    assert desk.created == 2


def test_the_output_of_a_local_runner_is_processed_too(
    server: StandIn, qwen2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The format of vLLM's run_batch: the same lines, one file, nothing submitted."""
    words("create", "--num-batches", 1, "--requests-per-batch", 3)
    asked = Path("requests/refusal/request_batch0.jsonl").read_text().splitlines()
    Path("local").mkdir()
    with Path("local/results.jsonl").open("w") as file:
        for number, line in enumerate(map(json.loads, reversed(asked))):
            response = {"status_code": 200, "request_id": f"vllm-batch-{number}"}
            response["body"] = server.answer(line["body"], number)
            answer = {"id": f"vllm-{number}", "custom_id": line["custom_id"], "response": response, "error": None}
            file.write(json.dumps(answer) + "\n")
    capsys.readouterr()
    arguments = ["--target-scenarios", 3, "--tokenizer", f"qwen={qwen2}"]
    assert words("process", "--input-dir", "local", *arguments) == 0
    assert "3 requests: 3 answered" in capsys.readouterr().out
    shutil.rmtree("requests")  # Without the requests the order is that of the custom_ids.
    assert words("process", "--input-dir", "local", "--output", "again.jsonl", *arguments) == 0
    assert Path("again.jsonl").read_bytes() == Path("dataset.jsonl").read_bytes()


def test_recorded_files_are_processed_to_the_right_counts(materials: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two answers (no pairs in them, one cut at its limit), two unsupported parameters, one empty account, one prompt
    that was too long, one request that expired: as the README of the materials says."""
    Path("recorded").mkdir()
    for path in (materials / "batch").glob("*.jsonl"):
        if "input" not in path.name:
            shutil.copy(path, "recorded")
    assert words("process", "--input-dir", "recorded", "--tokenizer", "tiny") == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "7 requests: 2 answered, 2 bad-request, 1 context, 1 expired, 1 quota"
    assert out[1] == "7 replies: 1 malformed, 1 cut, 5 failed"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that waits for batches waits in no time."""
    monkeypatch.setattr(clock, "Clock", partial(clock.Clock, sleep=lambda seconds: None))


def test_a_run_asks_on_for_what_is_missing_says_what_was_wrong_and_is_finished_when_given_again(
    server: StandIn, qwen2: Path, hurried: None, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = BatchDesk(server)
    command = ["run", "--num-batches", 1, "--requests-per-batch", 2, "--tokenizer", f"qwen={qwen2}"]
    command += ["--base-url", server.url]
    assert words(*command, "--target-scenarios", 14) == 0
    rounds = desk.created
    assert rounds > 1
    assert "a further round asks for what is missing" in capsys.readouterr().out
    first, second = (
        [json.loads(line) for line in Path(f"requests/refusal/request_batch{n}.jsonl").read_text().splitlines()]
        for n in (0, 1)
    )
    told = second[0]["body"]["messages"][-1]["content"]
    assert "tokens" in told and "tokens" not in first[0]["body"]["messages"][-1]["content"]
    assert first[0]["body"]["messages"][0] == second[0]["body"]["messages"][0]
    dataset = Path("dataset.jsonl").read_bytes()
    assert dataset.count(b"\n") == 4 * 14

    assert words(*command, "--target-scenarios", 14) == 0
    assert "nothing is left to send" in capsys.readouterr().out
    assert desk.created == rounds
    assert Path("dataset.jsonl").read_bytes() == dataset
    assert words(*command, "--target-scenarios", 30, "--rounds", 9) == 0
    assert desk.created > rounds
    assert Path("dataset.jsonl").read_bytes().count(b"\n") == 4 * 30


def test_rounds_end_where_they_are_told_to(
    server: StandIn, qwen2: Path, hurried: None, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = BatchDesk(server)
    command = ["run", "--num-batches", 1, "--requests-per-batch", 1, "--tokenizer", f"qwen={qwen2}"]
    command += ["--base-url", server.url, "--target-scenarios", 400]
    assert words(*command, "--rounds", 2) == 1
    assert desk.created == 2
    assert "2 rounds asked, as many as --rounds allows" in capsys.readouterr().out
    assert words(*command, "--min-yield", 1) == 1
    assert desk.created == 2
    assert "under the floor" in capsys.readouterr().out
    Path("dataset.jsonl").write_text("mine")
    assert words(*command) == 2  # What the run did not write is not replaced.


def test_answers_of_other_batches_are_not_taken_for_those_of_new_ones(capsys: pytest.CaptureFixture[str]) -> None:
    Path("batch_outputs/refusal").mkdir(parents=True)
    Path("batch_outputs/refusal/output_batch0.jsonl").write_text("{}\n")
    assert words("create", *SMALL) == 2
    assert "holds answers of other batches" in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    BatchDesk(server)
    words("create", *SMALL)
    words("submit", "--base-url", server.url)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "Clock", partial(clock.Clock, sleep=interrupt))
    monkeypatch.setattr("sys.argv", ["latentext", "batch", "status", "--watch"])
    assert words("status", "--watch") == 130
    assert "To go on: latentext batch status --watch" in capsys.readouterr().err


def test_the_request_files_are_answered_by_a_model_on_this_machine_too(
    qwen2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model knows no JSON and its context is short: what counts is that every request has its line."""
    words("create", "--num-batches", 2, "--requests-per-batch", 1)
    command = ["local", "--model", "tiny", "--max-tokens", 8]
    assert words(*command) == 0
    assert "2 requests answered" in capsys.readouterr().out
    names = [json.loads(Path(f"batch_outputs/refusal/output_batch{n}.jsonl").read_text())["custom_id"] for n in (0, 1)]
    assert names == ["request-0-0", "request-1-0"]
    written = Path("batch_outputs/refusal/output_batch1.jsonl").read_bytes()
    assert words(*command) == 0  # Nothing is left to do, and the files come out the same.
    assert Path("batch_outputs/refusal/output_batch1.jsonl").read_bytes() == written
    assert words("process", "--tokenizer", f"qwen={qwen2}", "--target-scenarios", 1) == 1
    assert "2 requests: 2 " in capsys.readouterr().out
