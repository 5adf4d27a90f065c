"""A server that sends the key back: it reaches no file, no message and no log, however it is spelled."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.asking import made, opened, requests
from tests.contract.test_answers_without_end import finished, serving
from tests.contract.test_runs import KEY, spec_file
from tests.engines.batch.made import PatientClock

from latentext.cli.app import exit_code
from latentext.engines.batch.downloading import download
from latentext.engines.batch.remote import open_remote
from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.redaction import RedactedStream, Redaction
from latentext.engines.server.spend import Spend
from latentext.engines.server.standin import Fault, StandIn
from latentext.request import Completion

SPELLED: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "header": lambda key: f"Authorization: Bearer {key}",
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of a password": lambda key: base64.urlsafe_b64encode(f"user:{key}".encode()).decode(),
}


def escaped(text: str) -> bytes:
    return "".join(f"\\u{ord(character):04X}" for character in text).encode()


def echoing(spelled: str) -> Fault:
    body = {"choices": [{"message": {"content": f"I got {spelled}!"}, "finish_reason": "stop"}]}
    return Fault("echo", body=json.dumps(body).encode())


def everything_in(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("spelling", SPELLED)
@pytest.mark.parametrize("escape", [False, True])
def test_a_key_in_a_text_is_written_nowhere_and_the_user_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    spelling: str,
    escape: bool,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    spelled = SPELLED[spelling](KEY)
    fault = echoing("@")
    assert fault.body is not None
    written = escaped(spelled) if escape else spelled.encode()
    fault = Fault("echo", body=fault.body.replace(b"@", written))
    root = tmp_path / "data"
    with StandIn(faults=[fault]) as server:
        assert exit_code(["run", spec_file(tmp_path, server, count=2), "-o", str(root)]) == 0
    everything = everything_in(root) + "".join(capsys.readouterr()).encode()
    secret = spelled if spelling.startswith("base64") else KEY
    inner = secret.strip("=")[4:-4].encode()
    assert inner not in everything
    texts = [json.loads(line)["text"] for line in exported(root, tmp_path)]
    assert sum("[key]" in text for text in texts) == 1
    assert any("sent your API key back once" in record.getMessage() for record in caplog.records)


def exported(root: Path, folder: Path) -> list[str]:
    assert exit_code(["export", str(root), str(folder / "texts.jsonl"), "--to", "jsonl"]) == 0
    return (folder / "texts.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    "edit",
    [
        {"choices.0.message": {"content": None, "refusal": f"no, {KEY}"}},
        {"choices.0.message": {"content": None, "reasoning_content": f"my key is {KEY}"}},
        {"choices.0.message.content": [{"text": KEY[:9]}, {"text": KEY[9:]}]},
        {"choices.0.finish_reason": KEY},
        {"id": KEY, "model": KEY, "system_fingerprint": KEY},
    ],
)
def test_a_key_in_any_field_is_kept_out_of_the_dataset_and_of_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: dict[str, Any]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    root = tmp_path / "data"
    with StandIn(faults=lambda number, body: Fault.edited("echo", edit)) as server:
        assert exit_code(["run", spec_file(tmp_path, server, count=2), "-o", str(root)]) in (0, 4)
    parts = "content" in str(edit) and "text" in str(edit)
    assert KEY.encode() not in everything_in(root)
    assert parts or KEY[:16].encode() not in everything_in(root)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_key_in_an_error_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    body = b'{"error": {"message": "wrong: %s %s"}}' % (escaped(KEY), base64.b64encode(KEY.encode()))
    with StandIn(faults=lambda number, body_: Fault("echo", status, body)) as server:
        exit_code(["run", spec_file(tmp_path, server, count=2), "-o", str(tmp_path / "data")])
    said = "".join(capsys.readouterr()).encode() + everything_in(tmp_path / "data")
    assert KEY.encode() not in said and base64.b64encode(KEY.encode())[:24] not in said


def test_a_key_in_an_old_journal_reaches_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Journal(tmp_path / "j") as journal:
        journal.put("gpt-4o", JournalAnswer("key0", 0, echoing(KEY).body or b"", Spend(1))).result()
    with StandIn() as server, opened(server, tmp_path / "j") as engine:
        (outcome,) = made(engine, requests(1))
    assert isinstance(outcome, Completion) and outcome.text == "I got [key]!"


def test_a_key_in_an_output_file_of_a_batch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    place, clock, said = finished(tmp_path), PatientClock().clock, list[str]()
    body = {"choices": [{"message": {"content": f"I got {KEY}"}, "finish_reason": "stop"}], "x": "y" * 4000}
    lines = [
        json.dumps({"custom_id": f"request-0-{n}", "response": {"status_code": 200, "body": body}}) for n in range(3)
    ]
    with StandIn() as server, place.alone():
        serving(server, gzip.compress("\n".join(lines).encode()), **{"content-encoding": "gzip"})
        download(place, place.ledger(), open_remote(server.url, clock), clock, said.append)
    assert KEY.encode() not in everything_in(tmp_path)
    assert place.output_file(0).read_bytes().count(b"[key]") == 3
    assert any("sent your API key back 3 times" in words for words in said)


@given(st.binary(max_size=60), st.binary(max_size=60), st.lists(st.integers(1, 200), max_size=9), st.booleans())
def test_a_key_is_found_wherever_a_stream_is_cut(before: bytes, after: bytes, cuts: list[int], escape: bool) -> None:
    written = escaped(KEY) if escape else KEY.encode()
    raw, stream, found = before.replace(b"\\", b"/") + written + after, RedactedStream(Redaction(KEY)), b""
    for cut in cuts:
        found, raw = found + stream.take(raw[:cut]), raw[cut:]
    found += stream.take(raw) + stream.rest()
    assert KEY.encode() not in found and escaped(KEY) not in found
    assert b"[key]" in found


def test_a_stream_without_line_ends_is_searched_across_its_pieces_in_little_memory() -> None:
    stream, found = RedactedStream(Redaction(KEY)), b""
    raw = b"x" * (3 << 20) + KEY.encode() + b"y" * (2 << 20)
    for start in range(0, len(raw), 65_537):
        found += stream.take(raw[start : start + 65_537])
    found += stream.rest()
    assert found == raw.replace(KEY.encode(), b"[key]")


@given(st.text(st.sampled_from('\\nu0073abc"/'), max_size=30), st.text(st.sampled_from('\\nu0073abc"/'), max_size=30))
def test_an_answer_that_was_json_is_json_without_the_key(before: str, after: str) -> None:
    key = "nab/c-0073"
    for raw in (
        json.dumps(before + key + after).encode(),
        json.dumps(before + "@" + after).encode().replace(b"@", escaped(key)),
        json.dumps(json.dumps(before + key) + after).encode(),
    ):
        document = json.loads(Redaction(key).of_bytes(raw))
        assert key not in document and "[key]" in document


def test_what_only_looks_like_a_key_stays_in_a_text_and_a_short_word_is_no_key() -> None:
    assert Redaction(KEY).of_text("sk-abcdefghijkl and Bearer x") == "sk-abcdefghijkl and Bearer x"
    assert Redaction("word").of_text("a word") == "a word"
    assert Redaction(None).of_bytes(b"no-key") == b"no-key"
