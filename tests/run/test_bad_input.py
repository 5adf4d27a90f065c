"""Every kind of bad input that a run can meet, through the command line: one line, its exit code, nothing lost.

`pytest -s` prints the lines.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.run.made import contents, small_spec

from latentext.cli.app import exit_code
from latentext.spec.files import dump_spec
from latentext.storage import filesystem
from latentext.storage.lease import Leases

Prepare = Callable[["Place"], None]


@dataclass
class Place:
    """A folder with a spec and its finished dataset, in which something is to go wrong."""

    folder: Path
    model: Path
    monkeypatch: pytest.MonkeyPatch
    held: ExitStack = field(default_factory=ExitStack)
    words: list[str] = field(default_factory=lambda: ["run", "spec.yaml", "--output", "data"])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def change(self, **fields: Any) -> None:
        """Change fields of the spec's file, and make another dataset of it."""
        path = self.folder / "spec.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields, allow_unicode=True))
        self.words[-1] = "new"


def prompts(**fields: Any) -> Prepare:
    return lambda place: place.change(prompts={"use_chat_template": False} | fields)


def states(**fields: Any) -> Prepare:
    return lambda place: place.change(states=fields)


def unreadable_file(place: Place) -> None:
    (place.folder / "prompts.parquet").write_bytes(b"PAR1 and nothing else")
    place.change(prompts={"file": "prompts.parquet", "use_chat_template": False})


def unknown_field(place: Place) -> None:
    place.change(decoding={"max_new_token": 10})


def full_disk(place: Place) -> None:
    """The disk is full when the second shard is to be written."""
    real, left = os.write, 60_000

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    place.words[-1] = "new"
    place.monkeypatch.setattr(filesystem.os, "write", write)


def newer_format(place: Place) -> None:
    path = place.data / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))


def held(place: Place) -> None:
    place.words.append("--fresh")
    place.held.enter_context(Leases(place.data).take("records/s0000-0000/00001"))


def another_seed(place: Place) -> None:
    place.words += ["--set", "seed=1"]


def folder_of_other_things(place: Place) -> None:
    (place.folder / "thesis").mkdir()
    (place.folder / "thesis" / "chapter.tex").write_text("…")
    place.words[-1] = "thesis"


def damaged_provenance(place: Place) -> None:
    (place.data / "provenance.json").write_text("{")


def no_model(place: Place) -> None:
    place.words += ["--model", "./modles/tiny"]


CASES: dict[str, tuple[Prepare, int, str]] = {
    "missing file": (
        prompts(file="prompts.jsonl"),
        2,
        "prompts.jsonl: no such file; check prompts.file",
    ),
    "unreadable file": (unreadable_file, 2, "prompts.parquet"),
    "unknown field": (unknown_field, 2, "max_new_tokens"),
    "variable that the grid lacks": (prompts(template="Say {word} {times} times", grid={"word": ["a"]}), 2, "times"),
    "empty grid": (prompts(template="Say {word}", grid={"word": []}), 2, "word"),
    "site out of range": (states(sites=["resid_post.7"]), 2, "resid_post.7"),
    "tokenizer without a chat template": (
        prompts(list=["Hello"], use_chat_template=True),
        2,
        "use_chat_template: false",
    ),
    "full disk": (full_disk, 1, "the disk is full"),
    "newer format": (newer_format, 1, "written in format version 2, this latentext writes 1; update latentext"),
    "held by another run": (held, 1, "another run is at work here: records/s0000-0000/00001 is held by process"),
    "another seed": (another_seed, 2, "seed was 0 and is 1"),
    "a folder of other things": (folder_of_other_things, 1, "holds other files (chapter.tex) and is no dataset"),
    "damaged provenance": (damaged_provenance, 1, "provenance.json: cannot be read; restore it from a copy"),
    "no such model": (no_model, 2, "no such folder"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_with_cause_and_remedy_and_nothing_is_lost(
    name: str,
    finished: Path,
    stories260k: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare, code, words = CASES[name]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "data")
    (tmp_path / "spec.yaml").write_text(dump_spec(small_spec(stories260k)))
    place = Place(tmp_path, stories260k, monkeypatch)
    prepare(place)
    before = contents(place.data)
    with place.held:
        assert exit_code(place.words) == code
    captured = capsys.readouterr()
    notes = captured.err.splitlines()
    lines = [line for line in notes if line.startswith("latentext: ")]
    with capsys.disabled():
        print(f"\n{name} ({code})\n    {lines[-1] if lines else notes}", end="")
    assert len(lines) == 1
    assert lines[0] == notes[-1]
    assert words in lines[0]
    assert "Traceback" not in captured.err
    assert contents(place.data) == before
    assert not [p for p in (tmp_path / "new").rglob("*") if p.name.endswith(".tmp")]


def test_a_run_stopped_by_a_full_disk_goes_on_to_the_same_bytes(
    finished: Path,
    stories260k: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(finished, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(dump_spec(small_spec(stories260k)))
    place = Place(tmp_path, stories260k, monkeypatch)
    with monkeypatch.context() as full:
        place.monkeypatch = full
        full_disk(place)
        assert exit_code(place.words) == 1
    done = list((tmp_path / "new").glob("records/*/*.receipt.json"))
    assert 0 < len(done) < 4
    assert exit_code(place.words) == 0
    new, old = contents(tmp_path / "new"), contents(finished)
    differing = {name for name in {**new, **old} if new.get(name) != old.get(name)}
    # The path to the model, which the spec holds relative to its directory, is another here.
    assert differing <= {"spec.yaml", "metadata.json", "README.md"}


def test_a_prompt_longer_than_the_context_fails_is_recorded_and_the_run_goes_on(
    stories260k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {"list": ["Once upon", "word " * 600, "One day"], "use_chat_template": False}
    (tmp_path / "spec.yaml").write_text(dump_spec(small_spec(stories260k, prompts=told)))
    assert exit_code(["run", "spec.yaml", "--output", "data"]) == 4
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "3 texts: 2 written, 1 failed"
    assert "texts: 3 of 3" in captured.err
    (failure,) = map(json.loads, (tmp_path / "data" / "failures.jsonl").read_text().splitlines())
    assert (failure["index"], failure["reason"]) == (1, "prompt-too-long")
    assert failure["message"].endswith("the model's context is 512")
