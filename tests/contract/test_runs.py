"""Whole runs against a stand-in server, by the command line: money, keys, exit codes, kills, replayed states."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.contract.asking import prompt_tokens_of

import latentext
from latentext.cli.app import exit_code
from latentext.engines.server.standin import Asked, Fault, StandIn
from latentext.spec.yaml_text import dump_yaml

KEY = "invented-key-0123456789"


def spec_file(folder: Path, server: StandIn, count: int = 6, **changes: Any) -> str:
    """A spec of `count` requests, two a shard."""
    api = {"base_url": server.url, "prices": "openai", "max_tries": 2}
    spec = {
        "name": "asked",
        "model": {"name": "gpt-4o", "engine": "openai", "api": api},
        "prompts": {"template": "Say {n}.", "grid": {"n": {"range": [0, count]}}},
        "decoding": {"max_new_tokens": 12},
        "shard_size": 2,
    }
    path = folder / "spec.yaml"
    path.write_text(dump_yaml({**spec, **changes}))
    return str(path)


def run(*arguments: str) -> int:
    return exit_code(["run", *arguments])


def test_a_run_by_a_server_is_a_dataset_with_usage_and_money(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    with StandIn() as server:
        spec = spec_file(tmp_path, server)
        assert run(spec, "--dry-run") == 0
        assert "USD" in capsys.readouterr().out
        assert run(spec, "-o", str(root)) == 0
        assert run(spec, "-o", str(root)) == 0
    said = capsys.readouterr()
    assert "placeholder" in said.err
    assert "spent in all" in said.err
    assert set(server.billed().values()) == {1}
    rows = latentext.open_dataset(root).records().to_pylist()
    assert len(rows) == 6
    assert all(row["usage"]["completion_tokens"] == len(row["text"].split()) for row in rows)
    assert all(row["token_ids"] == [] for row in rows)
    assert exit_code(["status", str(root)]) == 0
    assert "USD (6 answers of a server)" in capsys.readouterr().out
    assert exit_code(["show", str(root), "-n", "1"]) == 0
    assert rows[0]["text"] in capsys.readouterr().out
    assert json.loads((root / "status.json").read_text())["spend"]["answers"] == 6
    assert exit_code(["verify", str(root)]) == 0


def test_a_run_without_a_key_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with StandIn() as server:
        spec = spec_file(tmp_path, server)
    assert run(spec, "-o", str(tmp_path / "data"), "--set", "model.api.base_url=null") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("latentext: there is no OPENAI_API_KEY")
    assert "'OpenAI keys'" in last


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault.bad_key(), 2), (Fault.no_quota(), 3)],
    ids=lambda v: v.name if isinstance(v, Fault) else "",
)
def test_a_stopped_run_goes_on_with_the_same_command(tmp_path: Path, fault: Fault, code: int) -> None:
    def from_the_third_on(number: int, body: Any) -> Fault | None:
        return fault if number >= 2 and not healed else None

    healed = False
    with StandIn(faults=from_the_third_on) as server:
        spec = spec_file(tmp_path, server)
        one_by_one = ("-o", str(tmp_path / "data"), "--set", "model.api.concurrency=1")
        assert run(spec, *one_by_one) == code
        healed = True
        assert run(spec, *one_by_one) == 0
    assert server.billed() == {f"Say {n}.": 1 for n in range(6)}


def test_caps_of_the_command_line_stop_with_their_exit_code_and_can_be_raised(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with StandIn() as server:
        spec = spec_file(tmp_path, server)
        assert run(spec, "-o", str(root), "--max-tokens-total", "100") == 3
        assert run(spec, "-o", str(root), "--max-cost", "0.0001") == 3
        assert run(spec, "-o", str(root), "--max-cost", "1") == 0
    assert set(server.billed().values()) == {1}


def test_failed_requests_are_recorded_and_asked_again_when_that_is_wanted(tmp_path: Path) -> None:
    root = tmp_path / "data"

    def refused(number: int, body: Any) -> Fault | None:
        return Fault.refusal() if body["messages"][0]["content"] == "Say 3." and number < 6 else None

    with StandIn(faults=refused) as server:
        spec = spec_file(tmp_path, server)
        assert run(spec, "-o", str(root)) == 4
        assert "refused" in (root / "failures.jsonl").read_text()
        assert run(spec, "-o", str(root)) == 4
        assert len(server.asked) == 6
        assert run(spec, "-o", str(root), "--retry-failed") == 0
    assert server.billed() == {f"Say {n}.": 1 + (n == 3) for n in range(6)}


def test_the_key_is_in_no_file_and_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    echo = Fault.error(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key")
    bad = Fault.error(400, f"Bearer {KEY} sent what we do not like", kind="invalid_request_error")
    for name, faults in (("refused", [None, echo]), ("failed", [bad, None, None, None])):
        folder = tmp_path / name
        folder.mkdir()
        with StandIn(faults=faults) as server:
            spec = spec_file(folder, server, count=4)
            arguments = ["--log-level", "debug", "run", spec, "-o", str(folder / "data")]
            assert exit_code([*arguments, "--set", "model.api.concurrency=1"]) in (2, 4)
    said = capfd.readouterr()
    assert KEY not in said.out + said.err
    assert "[key]" in said.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_states_are_replayed_by_a_local_model_and_flagged(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with StandIn(prompt_tokens=prompt_tokens_of("tiny")) as server:
        spec = spec_file(tmp_path, server, count=4, states={"sites": ["final_norm"]})
        as_served = ("--set", "prompts.remove_date_lines=false")
        assert run(spec, "-o", str(root), "--set", "model.local=tiny", *as_served) == 0
    dataset = latentext.open_dataset(root)
    provenance = json.loads((root / "provenance.json").read_text())
    assert provenance["engine"]["retokenized"] is True
    rows = dataset.records().to_pylist()
    assert all(len(row["token_ids"]) > 1 and len(row["prompt_token_ids"]) > 1 for row in rows)
    assert sum(len(row["token_ids"]) for row in rows) == len(dataset.states("final_norm"))
    assert exit_code(["verify", str(root)]) == 0


def test_a_journal_elsewhere_is_used_by_every_run_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, journal = tmp_path / "data", tmp_path / "elsewhere" / "journal.sqlite"
    with StandIn() as server:
        spec = spec_file(tmp_path, server)
        assert run(spec, "-o", str(root), "--journal", str(journal), "--max-tokens-total", "100") == 3
        assert run(spec, "-o", str(root), "--journal", str(journal)) == 0
    assert set(server.billed().values()) == {1}
    assert journal.exists() and not (root / "journal.sqlite").exists()
    assert exit_code(["status", str(root)]) == 0
    assert "USD (6 answers of a server)" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", ["length/same_prompt", "represent/repeat"])
def test_a_recipe_runs_with_a_server_and_a_local_model_for_its_states(tmp_path: Path, recipe: str) -> None:
    root = tmp_path / "data"
    fields = {"engine": "openai", "name": "gpt-4o", "local": "tiny"}
    with StandIn(prompt_tokens=prompt_tokens_of("tiny")) as server:
        fields["api.base_url"] = server.url
        changes = ["--set", "prompts.remove_date_lines=false"]
        changes += [word for name, value in fields.items() for word in ("--set", f"model.{name}={value}")]
        assert run(recipe, "-o", str(root), "--limit", "2", *changes) == 0
    assert latentext.open_dataset(root).records().num_rows == len(server.asked) == 2
    assert len(latentext.open_dataset(root).states("final_norm")) >= 2


@pytest.mark.slow
def test_no_answer_in_the_journal_is_ever_asked_for_again_whenever_the_run_is_killed(tmp_path: Path) -> None:
    root, count, kills = tmp_path / "data", 160, 0
    checked: list[tuple[int, set[str]]] = []
    journal = root / "journal.sqlite"
    with StandIn(delay=0.02) as server:
        spec = spec_file(tmp_path, server, count=count, shard_size=10)
        command = [sys.executable, "-m", "latentext", "run", spec, "-o", str(root)]
        for goal in (20, 100):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            while len(server.asked) < goal and process.poll() is None:
                time.sleep(0.003)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.1)  # What was on its way has come to the server.
            asked_then, paid = len(server.asked), paid_keys(root, journal, server.asked)
            assert len(paid) >= goal - 40
            assert len(server.asked) < count
            checked.append((asked_then, paid))
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        for asked_then, paid in checked:
            again = {asked.headers["idempotency-key"] for asked in server.asked[asked_then:]} & paid
            assert again == set()
        twice = sum(times - 1 for times in server.billed().values())
    assert twice <= 16 * kills  # Only what was on its way when a run was killed.
    assert latentext.open_dataset(root).records().num_rows == count
    assert exit_code(["verify", str(root)]) == 0


def paid_keys(root: Path, journal: Path, asked: list[Asked]) -> set[str]:
    """The keys of requests whose answers are on the disk: in the journal, or in records that are committed."""
    with sqlite3.connect(journal) as connection:
        keys = {f"{name}-1" for (name,) in connection.execute("SELECT key FROM answers")}
    connection.close()
    if list(root.glob("records/*/*.receipt.json")):
        prompts = {row["prompt"] for row in latentext.open_dataset(root).records().to_pylist()}
        keys |= {one.headers["idempotency-key"] for one in asked if one.prompt in prompts}
    return keys
