"""Request files: cut at the published limits, and checked before they are sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.engines.batch.made import body

from latentext.engines.batch.ledger import BatchPart, read_ledger
from latentext.engines.batch.limits import MOST_BYTES, MOST_REQUESTS, BatchLimits
from latentext.engines.batch.request_files import (
    describe_file,
    read_bodies,
    read_requests,
    request_line,
    write_requests,
)
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.errors import DatasetError, SpecError

BLANK = BatchPart(number=0, tag="t", requests=0, size=0, prompt_tokens=0)


def test_limits_are_the_published_ones() -> None:
    """OpenAI's API reference of POST /v1/batches: up to 50,000 requests, up to 200 MB."""
    assert (MOST_REQUESTS, MOST_BYTES) == (50_000, 200_000_000)
    assert not BatchLimits(requests=60_000).allows(requests=50_001, size=1, tokens=1)
    assert not BatchLimits(size=10**9).allows(requests=1, size=200_000_001, tokens=1)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (BatchLimits(), [10]),
        (BatchLimits(requests=4), [4, 4, 2]),
        (BatchLimits(size=3 * len(request_line("request-0-0", body(0)))), [3, 3, 3, 1]),
        (BatchLimits(enqueued_tokens=14), [2, 2, 2, 2, 2]),
    ],
)
def test_files_are_as_full_as_the_limits_allow(tmp_path: Path, limits: BatchLimits, expected: list[int]) -> None:
    place = BatchWorkspace(tmp_path, tmp_path)
    parts = list(write_requests(place, map(body, range(10)), limits))
    assert [part.requests for part in parts] == expected
    for part in parts:
        path = place.request_file(part.number)
        lines = list(read_requests(path))
        assert [line.custom_id for line in lines] == [f"request-{part.number}-{i}" for i in range(part.requests)]
        assert part.size == path.stat().st_size
        assert describe_file(path, part) == part
    written = [found for part in parts for found in read_bodies(place.request_file(part.number))]
    assert written == [body(number) for number in range(10)]


def test_a_file_names_one_model(tmp_path: Path) -> None:
    bodies = [body(0), body(1, model="gpt-4o-mini"), body(2, model="gpt-4o-mini")]
    parts = list(write_requests(BatchWorkspace(tmp_path, tmp_path), bodies, BatchLimits()))
    assert [(part.model, part.requests) for part in parts] == [("gpt-4o", 1), ("gpt-4o-mini", 2)]


def test_a_request_beyond_the_limits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="beyond the limits of a batch"):
        list(write_requests(BatchWorkspace(tmp_path, tmp_path), [body(0)], BatchLimits(enqueued_tokens=1)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"custom_id": "a", "body": {}}', '{"custom_id": "a", "body": {}}'], "line 2: custom_id 'a' stands here"),
        (['{"custom_id": "a", "body": '], "line 1: is not JSON"),
        (['{"body": {}}'], "line 1: has no usable 'custom_id'"),
        (['{"custom_id": "a"}'], "line 1: has no usable 'body'"),
        (["[]"], "line 1: is no JSON object"),
        ([], "holds no requests"),
        (
            ['{"custom_id": "a", "body": {"model": "x"}}', '{"custom_id": "b", "body": {"model": "y"}}'],
            "names several models: x, y",
        ),
    ],
)
def test_a_file_that_is_not_fit_to_be_sent_is_refused_by_its_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    path = tmp_path / "request_batch0.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(SpecError, match=message):
        describe_file(path, BLANK)


def test_request_files_of_other_makers_are_read(materials: Path) -> None:
    lines = list(read_requests(materials / "batch" / "vllm_example_input.jsonl"))
    assert [line.custom_id for line in lines] == ["request-1", "request-2"]
    assert {line.model for line in lines} == {"meta-llama/Meta-Llama-3-8B-Instruct"}


def test_a_ledger_that_is_damaged_or_of_the_future_is_named(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) is None
    path = tmp_path / "batch_metadata.json"
    for text, message in (("{", "cannot be read"), ('{"format": 99, "name": "x"}', "format 99"), ("[]", "cannot")):
        path.write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_ledger(tmp_path)


def test_no_key_is_in_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.engines.batch.made import serving, workspace

    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-to-be-seen-1234")
    place = workspace(tmp_path)
    with serving() as server:
        server.run(place)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"request-0-0" in written
    assert b"never-to-be-seen" not in written
    assert json.loads((place.requests / "batch_metadata.json").read_text())["format"] == 1
