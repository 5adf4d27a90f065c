"""A small folder with everything that commands read, and the commands that write outside a dataset."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import latentext
from latentext.cli.app import exit_code
from latentext.spec.files import dump_yaml
from latentext.storage.atomic import is_temporary

TINY = Path(latentext.__file__).parent / "models" / "tiny"
TOKENIZER = f"--tokenizer=tiny={TINY}"
LAMBDA = ["--lam_list=1.5,-0.25", "--value_list=length,second"]
COMPLETE = ["complete", "-d", "dailydialog", "--data", "rows.jsonl", "-mdl", "tiny", "-hf", "-temperature", "0,1"]
COMPLETE += ["--set", "decoding.max_new_tokens=5", "--set", "split.val=0.4", "--set", "split.test=0", "-o"]
_SPEC = {
    "name": "bank",
    "model": {"name": "tiny", "threads": 1},
    "prompts": {"template": "Say {word} {count} times.", "grid": {"word": ["zinc", "sun", "oak"], "count": [3, 2]}},
    "decoding": {"temperature": 1.3, "max_new_tokens": 9, "n": 3},
    "states": {"sites": ["resid_post.1", "final_norm", "embed"]},
    "rewards": ["length", {"name": "second", "words": ["a", "e", "the", "zinc", "sun", "oak"]}],
    "shard_size": 4,
}
_SOURCES = ("A: hello. \nB: how are you?", "A: it rains.", "A: where is it?")


@dataclass(frozen=True)
class Command:
    """A command that writes, in a folder that `prepare` filled.

    Attributes:
        before: commands that are given first, in the same folder, and end well.
        walked: kinds of changes to the disk before each of which it is killed.
        most: kills at most, spread evenly with the last ones among them; all where None.
    """

    name: str
    words: Sequence[str]
    before: Sequence[Sequence[str]] = ()
    walked: Sequence[str] = ("replace",)
    most: int | None = None


def prepare(folder: Path) -> None:
    """A bank of samples with states, texts beside human ones, and files of prompts."""
    with inside(folder):
        Path("spec.yaml").write_text(dump_yaml(_SPEC))
        rows = [
            {"id": f"d{number}", "source": source, "human_completions": f"B: well, number {number}."}
            for number, source in enumerate(_SOURCES)
        ]
        Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in _SOURCES))
        for words in (["run", "spec.yaml", "-o", "bank"], [*COMPLETE, "completions"]):
            assert exit_code(words) == 0, words


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with temporary files in it."""
    before = Path.cwd()
    (folder / "tmp").mkdir(exist_ok=True)
    os.chdir(folder)
    tempfile.tempdir = str(folder / "tmp")
    try:
        yield
    finally:
        tempfile.tempdir = None
        os.chdir(before)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content; what is of the moment, and hence no output, is left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("status.json", ".batch.lock") and ".leases" not in path.parts
    }


def left_behind(folder: Path) -> list[str]:
    """Temporary files and folders."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if is_temporary(path.name)]
