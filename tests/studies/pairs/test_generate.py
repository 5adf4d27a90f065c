"""``latentext pairs generate`` and ``plan``: options, files, exit codes, interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentext.cli.app import exit_code
from latentext.engines.server.standin import StandIn
from latentext.studies.pairs import load_task
from latentext.studies.pairs.mixture import proposal_replies

ANSWERS = proposal_replies(load_task("refusal"))
KEY = "sk-invented-0123456789abcdef"


@pytest.fixture
def words(tokenizer_sources: list[str]) -> list[str]:
    """One real tokenizer: the quickest to load."""
    return ["--tokenizer", tokenizer_sources[2]]


def run(*arguments: str | Path) -> int:
    return exit_code(["pairs", *map(str, arguments)])


def test_plan_says_what_both_ways_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--num-scenarios", "1500", "--yield", "0.3") == 0
    title, names, row, *rest = capsys.readouterr().out.splitlines()
    assert title == "1,500 scenarios of the task refusal with gpt-4o, 10 pairs a request:"
    assert names.split()[:2] == ["yield", "requests"]
    share, requests, prompt, reply, real, _, batch, _, most, _ = row.split()
    assert (share, requests) == ("30%", "500")
    # gpt-4o: 2.50 and 10 USD for a million tokens, half in batches.
    tokens = [int(number.replace(",", "")) for number in (prompt, reply)]
    expected = (tokens[0] * 2.5 + tokens[1] * 10) / 1e6
    assert float(real) == pytest.approx(expected, abs=1e-4)
    assert float(batch) == pytest.approx(expected / 2, abs=1e-4)
    assert float(most) > float(real)
    assert rest[0].startswith("Prices of 20")


def test_plan_of_an_unpriced_model_says_tokens_only_and_takes_a_table_of_your_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", "--model", "mine", "--num-scenarios", "10") == 0
    printed = capsys.readouterr().out
    assert "USD" not in printed
    assert "No price of mine is known" in printed
    table = tmp_path / "prices.yaml"
    table.write_text("date: 2026-01-02\nmodels:\n  mine: {input: 1, output: 2}\n")
    assert run("plan", "--model", "mine", "--num-scenarios", "10", "--prices", table) == 0
    assert "Prices of 2026-01-02." in capsys.readouterr().out


def test_a_rehearsal_needs_no_key_no_tokenizer_and_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("generate", "--rehearse", "--num-scenarios", "30") == 0
    printed = capsys.readouterr().out
    assert "30 scenarios in rehearsal/dataset.jsonl" in printed
    assert "no money was spent" in printed
    assert "real time at most" in printed
    assert len((tmp_path / "rehearsal" / "dataset.jsonl").read_text().splitlines()) == 120
    assert [path.name for path in tmp_path.iterdir()] == ["rehearsal"]


def test_what_is_generated_validates_and_the_key_is_nowhere(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    output = tmp_path / "pairs.jsonl"
    with StandIn(ANSWERS, key=KEY) as server:
        options = ["--base-url", server.url, "--num-scenarios", "25", "--output", output, "--details", *words]
        assert run("generate", *options) == 0
        asked = len(server.asked)
        assert run("generate", *options) == 0  # Done already: nothing is asked, and its own file is written again.
        assert len(server.asked) == asked
    assert run("validate", output, *words) == 0
    printed = "".join(capfd.readouterr())
    assert "25 scenarios in" in printed
    assert (tmp_path / "pairs.checkpoint" / "answers" / "journal.sqlite").is_file()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert KEY not in printed
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_without_a_key_one_line_and_exit_code_2(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert run("generate", "--num-scenarios", "1", *words) == 2
    printed = capsys.readouterr()
    [line] = (printed.out + printed.err).splitlines()
    assert line.startswith("latentext: there is no OPENAI_API_KEY")
    assert not list(tmp_path.glob("dataset*"))


def test_a_file_that_is_there_is_kept_before_anything_is_asked(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pairs.jsonl"
    with StandIn(ANSWERS) as server:
        options = ["generate", "--base-url", server.url, "--output", output, "--num-scenarios", "2", *words]
        output.write_text("my thesis")
        assert run(*options, "--force") == 1
        assert "is no file of pairs" in capsys.readouterr().err
        output.write_text('{"scenario_id": 0, "paid for": true}')
        assert run(*options) == 2
        assert "exists already" in capsys.readouterr().err
        assert not server.asked
        assert run(*options, "--force") == 0
    assert "paid for" not in output.read_text()


def test_a_rehearsal_that_came_to_a_cap_goes_on_from_its_checkpoint_and_says_so_where_there_is_none(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["generate", "--rehearse", "--num-scenarios", "150"]
    capped, kept = ["--max-tokens-total", "15000"], ["--output", tmp_path / "a.jsonl", "--checkpoint", tmp_path / "ck"]
    assert run(*options, *kept, *capped) == 3
    assert "raise --max-tokens-total to go on" in capsys.readouterr().err
    assert run(*options, *kept) == 0
    assert run(*options, "--output", tmp_path / "b.jsonl", *capped) == 3
    assert "to be able to go on, give --checkpoint; to begin again, give --force" in capsys.readouterr().out
    assert run(*options, "--output", tmp_path / "b.jsonl", "--force") == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_cap_is_exit_code_3_and_leaves_what_was_paid_for(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pairs.jsonl"
    with StandIn(ANSWERS) as server:
        options = ["generate", "--base-url", server.url, "--output", output, "--num-scenarios", "150", *words]
        assert run(*options, "--max-tokens-total", "15000") == 3
        assert "raise --max-tokens-total to go on" in capsys.readouterr().err
        assert run(*options) == 0
        assert set(server.billed().values()) == {1}
    assert len(output.read_text().splitlines()) == 600


def test_no_checkpoint_leaves_only_the_pairs(tmp_path: Path, words: list[str]) -> None:
    output = tmp_path / "pairs.parquet"
    with StandIn(ANSWERS) as server:
        options = ["--base-url", server.url, "--output", output, "--num-scenarios", "5", *words]
        assert run("generate", "--no-checkpoint", *options) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.parquet"]


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_file_and_pays_for_no_answer_twice(
    tmp_path: Path, tokenizer_sources: list[str]
) -> None:
    def command(url: str, folder: Path) -> list[str]:
        options = [
            "--base-url",
            url,
            "--num-scenarios",
            "250",
            "--concurrency",
            "4",
            "--output",
            str(folder / "p.jsonl"),
        ]
        names = ["--tokenizer", tokenizer_sources[2]]
        return [sys.executable, "-m", "latentext", "pairs", "generate", *options, *names]

    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    with StandIn(ANSWERS) as server:
        (tmp_path / "whole").mkdir()
        subprocess.run(command(server.url, tmp_path / "whole"), env=environment, check=True, capture_output=True)
        total = len(server.asked)
    with StandIn(ANSWERS, delay=0.1) as server:
        (tmp_path / "killed").mkdir()
        for stop_at in (9, 30):
            process = subprocess.Popen(
                command(server.url, tmp_path / "killed"),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            while len(server.asked) < stop_at and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        subprocess.run(command(server.url, tmp_path / "killed"), env=environment, check=True, capture_output=True)
        assert len(server.billed()) == total
        assert server.billed().total() <= total + 2 * 4  # Those that were on their way at each kill.
    for name in ("p.jsonl", "p.checkpoint/requests.jsonl", "p.checkpoint/proposal.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
