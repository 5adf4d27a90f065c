"""What made a dataset: written once, compared field by field, never guessed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import DatasetError
from latentext.run.provenance import package_versions, read_provenance
from latentext.run.runner import make_dataset
from latentext.spec import Spec


def test_provenance_says_what_decides_the_numbers_and_nothing_of_the_machine(finished: Path, spec: Spec) -> None:
    provenance = read_provenance(finished)
    assert provenance is not None
    assert (provenance.threads, provenance.shard_size) == (1, 2)
    assert provenance.versions == package_versions()
    assert provenance.versions["torch"] == version("torch")
    identity = provenance.identity
    assert (identity["seed"], identity["model.dtype"], identity["decoding.max_new_tokens"]) == (0, "float32", 10)
    assert "decoding.n" not in identity
    text = (finished / "provenance.json").read_text()
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(finished) not in text


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"identity": {}}', '{"identity": NaN, "sha256": ""}', '{"a": "\\ud800", "sha256": ""}', None]
)
def test_a_dataset_whose_provenance_is_lost_is_not_continued(
    copied: Callable[..., Path], spec: Spec, damage: str | None
) -> None:
    root = copied()
    path = root / "provenance.json"
    path.unlink() if damage is None else path.write_text(damage)
    with pytest.raises(DatasetError, match=r"provenance\.json: .*restore it from a copy, or start again with --fresh"):
        make_dataset(spec, root)


def test_other_versions_are_noted_and_not_refused(
    copied: Callable[..., Path], spec: Spec, engine: TransformersEngine
) -> None:
    root = copied()
    path = root / "provenance.json"
    content = json.loads(path.read_text())
    content["versions"]["torch"] = "2.0.0"
    del content["sha256"]
    path.write_text(json.dumps(content))
    notes = []

    class Listener:
        def start(self, total: int, done: int, description: str) -> None: ...

        def advance(self, texts: int, tokens: int) -> None: ...

        def note(self, line: str) -> None:
            notes.append(line)

        def finish(self) -> None: ...

        def spent(self, spend: object) -> None: ...

        def waits(self, line: str | None) -> None: ...

    make_dataset(spec, root, engine=engine, progress=Listener())
    assert len(notes) == 1
    assert notes[0].startswith(f"made with other versions (torch 2.0.0 → {version('torch')})")


def test_a_run_gives_the_process_its_number_of_threads_back(
    copied: Callable[..., Path], spec: Spec, engine: TransformersEngine
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        make_dataset(spec, copied(), engine=engine)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
