"""Every option that is a number, of every command: what is not finite, or too large, ends in one line."""

from __future__ import annotations

import inspect
import shutil
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.crash.commands import inside, prepare

from latentext.cli.app import app, exit_code


def numbers(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, type]]:
    """The words of each command, an option, and the kind of its number."""
    for command in group.registered_commands:
        words = (*before, command.name or command.callback.__name__)
        hints = typing.get_type_hints(command.callback, include_extras=True)
        for name in inspect.signature(command.callback).parameters:
            kind, *extras = typing.get_args(hints[name]) or (hints[name],)
            option = next((extra for extra in extras if isinstance(extra, typer.models.OptionInfo)), None)
            found = {part for part in parts(kind) if part in (int, float)}
            if option is not None and found:
                named = (
                    option.default,
                    *(option.param_decls or ()),
                )  # Annotated, the first name is in place of a default.
                flags = [flag for flag in named if isinstance(flag, str) and flag.startswith("-")]
                yield words, flags[0] if flags else f"--{name.replace('_', '-')}", found.pop()
    for inner in group.registered_groups:
        yield from numbers(inner.typer_instance, (*before, inner.typer_instance.info.name))


def parts(kind: Any) -> Iterator[Any]:
    yield kind
    for inner in typing.get_args(kind):
        yield from parts(inner)


OPTIONS = list(numbers(app))


def test_the_table_has_the_options() -> None:
    found = {(" ".join(words), flag) for words, flag, _ in OPTIONS}
    assert len(found) > 60
    assert {("run", "--max-cost"), ("align solve", "--hold-out"), ("align sweep", "--budget")} <= found
    assert {("pairs plan", "--yield"), ("batch run", "--max-cost"), ("batch create", "--num-batches")} <= found


@pytest.mark.slow
@pytest.mark.parametrize("value", ["nan", "-inf", "1e400"])
def test_no_option_takes_a_number_that_is_not_finite(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, flag, _ in OPTIONS:
        assert exit_code([*words, f"{flag}={value}"]) == 2, (words, flag)
        [line] = capsys.readouterr().err.splitlines()
        assert "o such option" not in line
        assert f"latentext {' '.join(words)}: " in line and flag.lstrip("-").replace("_", "-") in line.replace("_", "-")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    prepare(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "align weigh bank --lam_list=1e308 --value_list=length",
        "align weigh bank --lam_list=1e308,1e308 --value_list=length,second --pooled",
        "align draw bank --lam_list=-1e308 --value_list=length -o d.json",
        "align draw bank --lam_list=1e400 --value_list=length -o d.json",
        "align draw bank --lam_list=nan --value_list=length -o d.json",
        "align report bank --lam_list=1e308 --value_list=length",
        "align solve bank --target length=1e400",
        "align solve bank --target length=-1e400sd",
        "align solve bank --target length=1e99",
        "align solve bank --target length=+1e50sd",
        "align solve bank --target length=nan",
        "align solve bank --target length=+0.1 --seed -5",
        "align report bank --lam_list=1 --value_list=length --seed -1",
        "report bank --seed -1",
        "probe bank --seed -1",
        "align weigh bank --lam_list=1 --value_list=length --samples 99999999999999999999999",
        "align draw bank --lam_list=1 --value_list=length -k 99999999999999999999999 -o d.json",
        "align sweep bank --value_list length,second --steps 1000000000000",
        "complete -temperature nan --dry-run -mdl tiny -hf",
        "complete -temperature 1,1e400 --dry-run -mdl tiny -hf",
        "complete -prompt_n 1e400 --dry-run -mdl tiny -hf",
        "export bank out\udcff --to npy",
        "show ba\udcffnk",
        "run spec.yaml -o \udcff",
        "merge bank spec.yaml -o merged",
        "align merge spec.yaml rows.jsonl",
    ],
)
def test_a_number_too_large_or_a_name_in_another_encoding_is_one_line(
    words: str, prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work = shutil.copytree(prepared, tmp_path / "work")
    with inside(work):
        code = exit_code(words.split(" "))
    said = capfd.readouterr().err.strip().splitlines()
    assert code in (0, 1, 2)
    assert len(said) == (0 if code == 0 else 1), said
    assert not Path(work, "d.json").exists() or code == 0


@pytest.mark.slow
def test_a_count_beyond_what_there_is_shows_all(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["show", str(prepared / "bank"), "-n", "9" * 30]) == 0
    assert capsys.readouterr().out.count("Say ") >= 6
