"""What a dataset says of answers that lack something: no usage, no known end, half a character."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_runs import run, spec_file
from transformers import AutoTokenizer

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.targets import text_lengths
from latentext.engines.server.standin import Fault, StandIn
from latentext.models.resolve import resolve_model
from latentext.report.making import facts


def uncounted(number: int, body: Any) -> Fault | None:
    """Every second answer has no usage."""
    return Fault.no_usage() if number % 2 else None


def test_usage_that_a_server_does_not_state_is_null_and_not_zero_wherever_it_is_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with StandIn(faults=uncounted) as server:
        assert run(spec_file(tmp_path, server, count=6), "-o", str(root)) == 0
    data = latentext.open_dataset(root)
    counts = [row["usage"]["completion_tokens"] for row in data.records().to_pylist()]
    assert counts.count(None) == 3 and 0 not in counts
    assert data.to_pandas()["completion_tokens"].isna().sum() == 3
    tokens = json.loads((root / "metadata.json").read_text())["tokens"]
    assert tokens["completion"] == sum(count for count in counts if count) and tokens["uncounted"] == 3
    assert "the server did not count 3 texts" in (root / "README.md").read_text()
    assert "3 texts were not counted by the server" in facts(data)["tokens"]
    lengths = text_lengths(data)
    assert not lengths.whole[lengths.total_tokens == 0].any()  # Nobody knows their length.
    assert exit_code(["verify", str(root)]) == 0
    assert exit_code(["export", str(root), str(tmp_path / "texts.jsonl"), "--to", "jsonl"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert [json.loads(line["usage"]) if isinstance(line["usage"], str) else line["usage"] for line in lines] == [
        row["usage"] for row in data.records().to_pylist()
    ]


def test_usage_stays_null_when_failed_requests_of_the_shard_are_asked_again(tmp_path: Path) -> None:
    root = tmp_path / "data"

    def first(number: int, body: Any) -> Fault | None:
        refused = body["messages"][-1]["content"] == "Say 1."
        return Fault.refusal() if refused and number < 4 else Fault.no_usage()

    with StandIn(faults=first) as server:
        spec = spec_file(tmp_path, server, count=2)
        assert run(spec, "-o", str(root)) == 4
        server._faults = lambda number, body: None
        assert run(spec, "-o", str(root), "--retry-failed") == 0
    usage = [row["usage"]["completion_tokens"] for row in latentext.open_dataset(root).records().to_pylist()]
    assert usage[0] is None and usage[1] > 0
    assert exit_code(["verify", str(root)]) == 0


@pytest.mark.parametrize(("finish", "ends"), [("stop", True), ("end_turn", True), (None, False), ("eos?", False)])
def test_a_text_whose_end_is_not_known_gets_no_end_token(tmp_path: Path, finish: str | None, ends: bool) -> None:
    root = tmp_path / "data"
    fault = Fault.edited("end", {"choices.0.finish_reason": finish})
    with StandIn(faults=lambda number, body: fault) as server:
        api = {"base_url": server.url, "prices": "openai"}
        model = {"name": "gpt-4o", "engine": "openai", "local": "tiny", "api": api}
        assert run(spec_file(tmp_path, server, count=2, model=model), "-o", str(root)) == 0
    data = latentext.open_dataset(root)
    eos = AutoTokenizer.from_pretrained(resolve_model("tiny").path_or_id).eos_token_id
    for row in data.records().to_pylist():
        assert row["finish_reason"] == ("stop" if ends else "unknown")
        assert (row["token_ids"][-1] == eos) is ends
    assert text_lengths(data).whole.all() == ends


def test_half_a_surrogate_pair_ends_no_run_and_the_other_answers_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "data"

    def half(number: int, body: Any) -> Fault | None:
        return Fault.edited("half", {"choices.0.message.content": "a\ud83d"}) if number % 3 == 0 else None

    with StandIn(faults=half) as server:
        assert run(spec_file(tmp_path, server, count=6), "-o", str(root)) == 0
        texts = [row["text"] for row in latentext.open_dataset(root).records().to_pylist()]
        assert texts.count("a\ufffd") == 2 and len(texts) == 6
        assert set(server.billed().values()) == {1}
