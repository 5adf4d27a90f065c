"""Where every command may write: never into a dataset, never over what something else made, never unasked.

One table of all commands that write outside a dataset, and one of the places that they must leave as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.crash.commands import COMPLETE, LAMBDA, TOKENIZER, files, inside, left_behind, prepare

from latentext.cli.app import app, exit_code

NEAR = ["--steps", "1", "--budget", "0.05"]
SUBSTITUTE = ["pairs", "substitute", "--num-scenarios", "4", TOKENIZER, "--output"]


@dataclass(frozen=True)
class Writer:
    """A command that writes a file with this ending, or a folder where there is none.

    Attributes:
        asked: what asks for an earlier output to be replaced; None where the command replaces or continues its own.
    """

    words: Sequence[str]
    ending: str = ""
    asked: str | None = None

    @property
    def name(self) -> str:
        return " ".join(self.words[:5])


FILES = [
    Writer(["export", "bank", "OUT", "--to", "jsonl"], ".jsonl", "--overwrite"),
    Writer(["export", "bank", "OUT", "--to", "parquet"], ".parquet", "--overwrite"),
    Writer(["export", "completions", "OUT", "--to", "tidy"], ".parquet", "--overwrite"),
    Writer(["align", "draw", "bank", *LAMBDA, "-o", "OUT"], ".json", "--overwrite"),
    Writer(["align", "draw", "bank", *LAMBDA, "--candidates", "-o", "OUT"], ".jsonl", "--overwrite"),
    Writer(["align", "sweep", "bank", LAMBDA[1], *NEAR, "-o", "OUT"], ".csv", "--overwrite"),
    Writer(["align", "merge", "parts/x_0to1.json", "-o", "OUT"], ".json"),
    Writer([*SUBSTITUTE, "OUT"], ".jsonl", "--force"),
    Writer([*SUBSTITUTE, "OUT"], ".parquet", "--force"),
    Writer(["pairs", "generate", "--rehearse", "--num-scenarios", "4", "--output", "OUT"], ".jsonl", "--force"),
    Writer(["batch", "process", "--input-dir", "answers", "--target-scenarios", "1", TOKENIZER, "--output", "OUT"],
        ".jsonl", "--force"),
    Writer(["batch", "run", "--target-scenarios", "1", TOKENIZER, "--output", "OUT"], ".jsonl", "--force"),
]  # fmt: skip
FOLDERS = [
    Writer(["export", "bank", "OUT", "--to", "npy", "--keep-truncated"], asked="--overwrite"),
    Writer(["export", "completions", "OUT", "--to", "ai_datasets"], asked="--overwrite"),
    Writer(["report", "bank", "-o", "OUT"]),
    Writer(["report", "completions", "-o", "OUT"]),
    Writer(["align", "report", "bank", *LAMBDA, "-o", "OUT"]),
    Writer(["probe", "bank", "--twins", "0", "--keep", "all", "--site", "embed", "-o", "OUT"]),
    Writer(["represent", "prompts.jsonl", "--max-new-tokens", "3", "-o", "OUT"]),
    Writer(["run", "spec.yaml", "-o", "OUT"]),
    Writer(["merge", "bank", "-o", "OUT"]),
    Writer(["demo", "OUT"]),
    Writer([*COMPLETE, "OUT"]),
    Writer(["align", "original", "--prompts", "prompts.jsonl", "--data_name", "x", "--save_directory", "OUT"]),
    Writer(["align", "sample", *LAMBDA[:1], "--value_list=length,diversity", "--MC_nsamples", "3", "--prompts",
        "prompts.jsonl", "--data_name", "x", "--save_directory", "OUT"]),
    Writer(["batch", "create", "--output-dir", "OUT"]),
    Writer(["pairs", "generate", "--rehearse", "--num-scenarios", "4", "--output", "new.jsonl", "--checkpoint", "OUT"]),
]  # fmt: skip
ALIKE = {"align solve", "align weigh", "pairs plan", "pairs validate", "capture", "score", "status", "verify", "show",
    "models", "corpora", "recipes", "batch cancel", "batch status", "batch submit"}  # fmt: skip
"""Commands that write nothing, or only into the dataset or the batches that they are given."""
ELSEWHERE = {"pairs split", "batch download", "batch local", "schema"}
"""Commands whose outputs have no name of the user's, or never replace a file: tests of their own hold them."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    prepare(folder)
    with inside(folder):
        Path("bank", "README.md").write_text("a card with a word of mine")
        Path("parts").mkdir()
        Path("parts", "x_0to1.json").write_text('[{"prompt": "p", "generated": "p q"}]')
        Path("answers").mkdir()
        Path("answers", "output_batch0.jsonl").write_text("")
        Path("thesis").mkdir()
        Path("thesis", "chapter.tex").write_text("years of work")
        shutil.copytree("bank", Path("thesis", "data"))
        Path("link").symlink_to("bank")
        Path("inner").symlink_to("bank/records")
    return folder


@pytest.fixture
def work(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared, tmp_path / "work", symlinks=True)


def given(writer: Writer, out: str, *more: str | None) -> list[str]:
    return [*(out if word == "OUT" else word for word in writer.words), *(word for word in more if word)]


def refused(work: Path, words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends with, having changed nothing."""
    before = files(work)
    with inside(work):
        code = exit_code(words)
    said = capsys.readouterr().err.strip().splitlines()
    assert code in (1, 2), f"ended with {code}: {said}"
    assert files(work) == before, words
    assert left_behind(work) == []
    assert said[-1].startswith("latentext: ")
    print(said[-1])
    return said[-1]


INSIDE = ["bank/new", "bank/records/new", "link/new", "inner/new", "thesis/../bank/new", "inner/../new"]
"""Places in a dataset, also through links, of which `..` leads to what they point to."""


@pytest.mark.slow
@pytest.mark.parametrize("writer", [*FILES, *FOLDERS], ids=lambda writer: writer.name)
def test_no_command_writes_into_a_dataset(writer: Writer, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in INSIDE:
        said = refused(work, given(writer, f"{place}{writer.ending}", writer.asked), capsys)
        assert "lies in the dataset bank; choose a place outside of datasets" in said


@pytest.mark.slow
@pytest.mark.parametrize("writer", FILES, ids=lambda writer: writer.name)
def test_no_command_replaces_a_file_unasked_or_one_of_another_kind(
    writer: Writer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even a shard of a dataset with the same columns, or a link to one."""
    mine = work / f"mine{writer.ending}"
    mine.write_text("nothing that a program made")
    refused(work, given(writer, mine.name), capsys)
    assert "is no file of" in refused(work, given(writer, mine.name, writer.asked), capsys) or writer.asked is None
    mine.unlink()
    shard = next((work / "bank" / "records").rglob("*.parquet"))
    for place in (shard, work / "bank" / "spec.yaml"):
        mine.symlink_to(place)
        assert "lies in the dataset bank" in refused(work, given(writer, mine.name, writer.asked), capsys)
        mine.unlink()
    mine.mkdir()
    assert "is a folder; name a file" in refused(work, given(writer, mine.name, writer.asked), capsys)


@pytest.mark.slow
@pytest.mark.parametrize("writer", FOLDERS, ids=lambda writer: writer.name)
def test_no_command_replaces_a_file_that_stands_where_its_folder_should(
    writer: Writer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "mine").write_text("nothing that a program made")
    refused(work, given(writer, "mine", writer.asked), capsys)


@pytest.mark.slow
@pytest.mark.parametrize("writer", [w for w in FOLDERS if w.asked], ids=lambda writer: writer.name)
def test_a_folder_is_replaced_whole_only_if_an_earlier_export_is_all_it_holds(
    writer: Writer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, why in (
        ("thesis", "holds the dataset data"), ("bank", "is a dataset"), ("link", "is a dataset"), ("inner", "lies in"),
        (".", "holds the dataset"), ("..", "holds the dataset"), ("answers", "holds other files (output_batch0.jsonl)"),
    ):  # fmt: skip
        assert why in refused(work, given(writer, place, writer.asked), capsys)
    with inside(work):
        assert exit_code(given(writer, "out")) == 0
        first = files(work / "out")
    assert "exists already" in refused(work, given(writer, "out"), capsys)
    (work / "out" / "notes.txt").write_text("mine")
    assert "holds other files (notes.txt)" in refused(work, given(writer, "out", writer.asked), capsys)
    (work / "out" / "notes.txt").unlink()
    (work / "again").symlink_to("out")
    with inside(work):
        assert exit_code(given(writer, "out", writer.asked)) == 0
        assert exit_code(given(writer, "again", writer.asked)) == 0
    assert files(work / "out") == first and (work / "again").is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize("writer", FILES[:7], ids=lambda writer: writer.name)
def test_an_earlier_output_is_replaced_when_that_is_asked_for(
    writer: Writer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"out{writer.ending}"
    with inside(work):
        assert exit_code(given(writer, out)) == 0
        first = files(work)
    if writer.asked is not None:
        assert "exists already" in refused(work, given(writer, out), capsys)
    (work / f"link{writer.ending}").symlink_to(out)
    with inside(work):
        assert exit_code(given(writer, out, writer.asked)) == 0
        if writer.asked is not None:
            assert exit_code(given(writer, f"link{writer.ending}", writer.asked)) == 0
            assert Path(f"link{writer.ending}").is_symlink()
            Path(f"link{writer.ending}").unlink()
    assert {name: data for name, data in files(work).items() if not name.startswith("link")} == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["report", "bank", "-o", "out"], "index.html"),
        (["report", "bank", "-o", "out"], "frequent_tokens.png"),
        (["align", "report", "bank", *LAMBDA, "-o", "out"], "levels.png"),
        (["probe", "bank", "--twins", "0", "--keep", "all", "--site", "embed", "-o", "out"], "results.json"),
        (["probe", "bank", "--twins", "0", "--keep", "all", "--site", "embed", "-o", "out"], "embed.json"),
        (["probe", "bank", "--twins", "0", "--keep", "all", "--site", "embed", "-o", "out"], "embed.safetensors"),
        (["represent", "prompts.jsonl", "-o", "out"], "texts.pkl"),
        (["represent", "prompts.jsonl", "-o", "out"], "texts_fidelity.csv"),
        (["represent", "prompts.jsonl", "-o", "out"], "texts_prompts.jsonl"),
        (["represent", "prompts.jsonl", "-o", "out"], "hidden/hidden_0.pt"),
        (["run", "spec.yaml", "-o", "out"], "spec.yaml"),
        (["merge", "bank", "-o", "out"], "spec.yaml"),
        (["demo", "out"], "../out_npy/metadata.json"),
        (["align", "original", "--prompts", "prompts.jsonl", "--data_name", "x", "--save_directory", "out"],
         "tiny-x.json"),
        (["batch", "create", "--output-dir", "out"], "refusal/request_batch0.jsonl"),
        (["batch", "create", "--output-dir", "out", "--force"], "refusal/request_batch3.jsonl"),
        (["pairs", "generate", "--rehearse", "--output", "o.jsonl", "--checkpoint", "out"], "requests.jsonl"),
    ],
)  # fmt: skip
def test_a_file_of_the_users_is_kept_under_every_name_that_a_command_chooses(
    words: Sequence[str], name: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "out" / name).parent.mkdir(parents=True, exist_ok=True)
    (work / "out" / name).write_text("mine")
    refused(work, words, capsys)


def test_every_command_is_in_the_table() -> None:
    known = {" ".join(w.words[: 2 if w.words[0] in ("align", "pairs", "batch") else 1]) for w in (*FILES, *FOLDERS)}
    assert sorted(set(names_of(app)) - known - ALIKE - ELSEWHERE) == []


def names_of(group: Any, before: str = "") -> list[str]:
    """All commands, such as "align draw"."""
    own = [before + (command.name or command.callback.__name__) for command in group.registered_commands]
    groups = (inner.typer_instance for inner in group.registered_groups)
    return own + [name for inner in groups for name in names_of(inner, f"{inner.info.name} ")]
