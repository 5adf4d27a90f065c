"""A cap on money without a price: every command says so before it makes a folder, also the dry run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.contract.test_runs import spec_file

from latentext.cli.app import exit_code
from latentext.engines.server.standin import StandIn

SAID = "--max-cost: the price of 'my-model' is not known, so a cap on money cannot be kept"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty but for hidden inputs, and with a key."""
    (tmp_path / "inputs").mkdir()
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    return folder


def commands(server: StandIn, inputs: Path) -> list[list[str]]:
    model = {"name": "my-model", "engine": "openai", "api": {"base_url": server.url}}
    spec = spec_file(inputs, server, model=model)
    rows = inputs / "rows.jsonl"
    rows.write_text(
        json.dumps({"id": "d", "source": "A: hi.", "human_completions": "B: hi.", "annotations": {}}) + "\n"
    )
    # The first model has a price: it must not be paid before the second is refused.
    sweep = ["complete", "-d", "dailydialog", "--data", str(rows), "-mdl", "gpt-4o,my-model", "--engine", "openai"]
    for field in (f"model.api.base_url={server.url}", "model.api.prices=openai", "decoding.max_new_tokens=8"):
        sweep += ["--set", field]
    sweep += ["--set", "decoding.top_k=null", "--length", "none"]
    tokenizer = ["--tokenizer", "tiny"]
    return [
        ["run", spec],
        ["run", spec, "--dry-run"],
        ["run", spec, "--preview", "1"],
        sweep,
        [*sweep, "--dry-run"],
        ["pairs", "generate", "--num-scenarios", "3", "--model", "my-model", "--base-url", server.url, *tokenizer],
        ["batch", "run", "--num-batches", "1", "--model", "my-model", "--base-url", server.url, *tokenizer],
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_cap_without_a_price_is_refused_before_anything_is_made_or_sent(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    with StandIn() as server:
        command = commands(server, tmp_path / "inputs")[number]
        assert exit_code([*command, "--max-cost", "1"]) == 2
        assert SAID in capsys.readouterr().err
        assert not server.asked
    assert list(here.iterdir()) == []


def test_a_dry_run_says_that_the_cost_is_unknown(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StandIn() as server:
        assert exit_code([*commands(server, tmp_path / "inputs")[1]]) == 0
    assert "cost, at most unknown" in " ".join(capsys.readouterr().out.split())


def test_workers_are_refused_where_one_process_asks_a_server_since_caps_are_of_one(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StandIn() as server:
        spec = spec_file(tmp_path / "inputs", server)
        assert exit_code(["run", spec, "--workers", "2", "--max-cost", "1"]) == 2
        assert "model.api.concurrency" in capsys.readouterr().err
        assert not server.asked
    assert list(here.iterdir()) == []
