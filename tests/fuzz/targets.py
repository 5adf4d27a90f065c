"""What is fuzzed: every parser of bytes from outside, each as a function of some bytes and an empty folder.

A target returns, or raises one of the errors that its parser promises; anything else is a finding. Where what was read
can be written again, it must come back equal. The same functions run under atheris (``make test-fuzz``) and, over the
kept seeds, in every test run.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from latentext.dataset.parts import open_part, widen
from latentext.engines.batch.joining import read_outputs
from latentext.engines.batch.ledger import NAME, read_ledger, write_ledger
from latentext.engines.batch.request_files import read_bodies, read_requests
from latentext.engines.server.answer import MalformedAnswerError, read_body, read_text
from latentext.engines.server.errors import of_status
from latentext.engines.server.prices import read_prices
from latentext.errors import LatentextError
from latentext.prompts.conversations import open_conversations
from latentext.prompts.rows import BadRow
from latentext.spec import PromptSpec
from latentext.spec.files import dump_spec, load_spec
from latentext.spec.yaml_text import YamlError, dump_yaml, parse_yaml
from latentext.studies.align.files import read_palette, read_texts
from latentext.studies.pairs.files import read_columns, read_scenarios
from latentext.studies.pairs.proposing.replies import parse_reply

Target = Callable[[bytes, Path], None]

_MOST_ROWS = 200
_ROW_FORMATS = ("jsonl", "csv", "tsv", "text")


def spec(data: bytes, folder: Path) -> None:
    """A spec in YAML, and a setting on the command line behind the first NUL."""
    text, _, override = data.partition(b"\0")
    path = folder / "spec.yaml"
    path.write_bytes(text)
    with suppress(LatentextError):
        read = load_spec(path, [override.decode(errors="replace")] if override else [])
        path.write_text(dump_spec(read), encoding="utf-8")
        assert load_spec(path) == read
    with suppress(LatentextError, UnicodeDecodeError):
        read_prices(path)
    with suppress(YamlError):
        value = parse_yaml(text.decode(errors="replace"))
        if not _holds_nan(value):
            assert parse_yaml(dump_yaml(value)) == value


def prompts(data: bytes, folder: Path) -> None:
    """A file of prompts, its format by the first byte; gzip where it begins so."""
    if not data:
        return
    form = _ROW_FORMATS[data[0] % len(_ROW_FORMATS)]
    path = folder / "input"
    path.write_bytes(data[1:])
    with suppress(LatentextError):
        chats = open_conversations(
            PromptSpec.model_validate({"file": {"path": str(path), "format": form}}), 0, folder / "plan"
        )
        for number in range(min(len(chats), _MOST_ROWS)):
            chat = chats[number]
            if not isinstance(chat, BadRow):
                json.dumps([dict(chat.variables), list(chat.messages)], ensure_ascii=False).encode()


def batch_outputs(data: bytes, folder: Path) -> None:
    """Files that a batch gave back, cut at NUL: outputs, requests, ledger; and each line as an answer in real time."""
    outputs, _, rest = data.partition(b"\0")
    requests, _, ledger = rest.partition(b"\0")
    for name, content in (
        ("output.jsonl", outputs),
        ("requests.jsonl", requests or outputs),
        (NAME, ledger or outputs),
    ):
        (folder / name).write_bytes(content)
    found = read_outputs([folder / "output.jsonl"])
    assert sum(found.tally(found.ids()).values()) == len(found)
    for answer in found.answers(found.ids()):
        assert (answer.body is None) != (answer.error is None)
        if answer.body is not None:
            read_text(answer.body)
    read_outputs([folder / "output.jsonl"], asked=set())
    with suppress(LatentextError):
        assert len(list(read_requests(folder / "requests.jsonl"))) == len(list(read_bodies(folder / "requests.jsonl")))
    with suppress(LatentextError):
        known = read_ledger(folder)
        if known is not None:
            write_ledger(folder, known)
            assert read_ledger(folder) == known


def answers(data: bytes, folder: Path) -> None:
    """What a server says: an HTTP status, a header, a body; and what a model wrote when it was asked for pairs."""
    status = 200 + int.from_bytes(data[:1]) * 2
    header, _, body = data[1:].partition(b"\0")
    with suppress(MalformedAnswerError):
        read_text(read_body(body))
    of_status(status, body, {"retry-after": header.decode("latin-1")}, now=0.0)
    with suppress(ValueError, RecursionError):
        of_status(status, json.loads(body), now=0.0)
    for reason in ("stop", "length"):
        parse_reply(body.decode(errors="surrogateescape"), ("safe", "harmful"), reason)


def states_part(data: bytes, folder: Path) -> None:
    """A part of states: as it is, and its bytes as a header whose length and file fit it."""
    path = folder / "00000-000.safetensors"
    for content in (data, struct.pack("<Q", len(data)) + data):
        path.write_bytes(content)
        _read_part(path)
    with path.open("r+b") as file, suppress(OverflowError, OSError):
        file.truncate(8 + len(data) + _described_size(data))  # A hole: it costs no room.
    _read_part(path)


def pairs(data: bytes, folder: Path) -> None:
    """A file of pairs in its own format, and as columns of JSON lines and CSV; then as texts of a sample bank."""
    for name in ("pairs.jsonl", "pairs.csv"):
        (folder / name).write_bytes(data)
        with suppress(LatentextError):
            for _ in read_columns(folder / name, ("a", "b")):
                pass
    with suppress(LatentextError):
        for _ in read_scenarios(folder / "pairs.jsonl"):
            pass
    (folder / "bank.json").write_bytes(data)
    (folder / "bank.lam").write_bytes(data)
    with suppress(LatentextError):
        read_texts(folder / "bank.json")
    with suppress(LatentextError):
        read_palette(folder / "bank.json")


def dataset(data: bytes, folder: Path) -> None:
    """One file of a small dataset in other words: spec, metadata, receipts, stages, rows."""
    from tests.fuzz.hostile_files import read_with

    read_with(data, folder)


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (spec, prompts, batch_outputs, answers, states_part, pairs, dataset)
}


def _read_part(path: Path) -> None:
    with suppress(LatentextError):
        part = open_part(path)
        assert sum(stored.size for stored in part.tensors.values()) <= path.stat().st_size
        for name in part.tensors:
            array = part.map(name)
            assert array.shape == part.tensors[name].shape
            if array.size < 100_000:
                widen(array, part.tensors[name].kind)
        if part.rows < 100_000:
            part.read_rows()


def _described_size(header: bytes) -> int:
    """The bytes of data that a header speaks of, as far as one can tell; at most 1 TB."""
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        ends = [
            tensor["data_offsets"][1]
            for tensor in json.loads(header).values()
            if isinstance(tensor, dict) and len(tensor.get("data_offsets") or ()) == 2
        ]
        return min(max((end for end in ends if isinstance(end, int) and end > 0), default=0), 10**12)
    return 0


def _holds_nan(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_nan(item) for pair in value.items() for item in pair)
    return any(map(_holds_nan, value)) if isinstance(value, list) else value != value
