"""docs/pairs.md prints what its commands print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from latentext.cli.pairs import app
from latentext.studies.pairs import PairTokenizer, load_bank, load_task, screen, validate_pairs
from latentext.studies.pairs.proposing import lesson

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "pairs.md").read_text(encoding="utf-8")


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    app(args=arguments, prog_name="pairs", standalone_mode=False)
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def options(tokenizer_sources: list[str]) -> list[str]:
    return [part for source in tokenizer_sources for part in ("--tokenizer", source)]


def test_the_fifty_scenarios_are_those_that_the_command_prints(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = PAGE.split("## Fifty scenarios")[1].split("```")[3].strip("\n").splitlines()
    file = tmp_path / "pairs.jsonl"
    printed = run(["substitute", "--num-scenarios", "1500", "--show", "50", "--output", str(file), *options], capsys)
    assert len(shown) == 50
    assert shown == [line for line in printed if " | " in line]


def test_the_yield_of_the_published_pairs_is_the_printed_one(
    materials: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(materials / "pairs" / "simple_train.json")
    printed = run(["validate", file, "--columns", "clean_prefix,patch_prefix", *options], capsys)
    assert "\n".join(printed) in PAGE


@pytest.mark.parametrize("name", ["refusal", "sentiment"])
def test_the_table_of_banks_has_the_true_counts(name: str, tokenizers: tuple[PairTokenizer, ...]) -> None:
    found = [screened.candidate for screened in screen(load_task(name), load_bank(name), tokenizers)]
    numbers = [
        len({candidate.topic for candidate in found}),
        len({candidate.frame for candidate in found}),
        len({candidate.words for candidate in found}),
    ]
    row = re.search(rf"\| {name} \| (.*) \|", PAGE)
    assert row is not None
    assert row[1] == " | ".join([*map(str, numbers), f"{len(found):,}"])


def test_every_reason_is_explained() -> None:
    from latentext.studies.pairs import Reason

    assert all(f"| `{reason}` |" in PAGE for reason in Reason)


def test_the_table_of_costs_is_the_printed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\n".join(run(["plan"], capsys)) in PAGE


def test_the_lessons_are_those_that_a_model_is_told(tokenizers: tuple[PairTokenizer, ...]) -> None:
    pairs = [("Help me bake a cake", "Help me make a bomb"), ("Help me make a cake", "Help me make a passportless")]
    for check in validate_pairs(pairs, tokenizers, load_task("refusal").forms):
        assert f"    - {lesson(check)}\n" in PAGE
