"""Banks of which a part is scored or written: exactly the values asked for are read, and what is missing is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from latentext.cli.app import exit_code
from latentext.errors import DatasetError
from latentext.run.runner import make_dataset, score_texts
from latentext.spec.files import load_spec
from latentext.studies.align.text_bank import open_bank

POLITE = {"name": "polite", "words": {"cats": 2, "you": 1}}
PROMPTS, SAMPLES = 12, 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve prompts in six shards, all of them scored by two values; the space in its name belongs to the test."""
    spec = load_spec(
        {
            "name": "bank",
            "model": {"name": "tiny", "threads": 1},
            "prompts": {
                "template": "Say something about {word} number {n}.",
                "grid": {"n": {"range": [0, 6]}, "word": ["cats", "dogs"]},
            },
            "decoding": {"temperature": 1, "max_new_tokens": 8, "n": SAMPLES},
            "shard_size": 2,
        }
    )
    root = tmp_path_factory.mktemp("banks") / "my bank"
    make_dataset(spec, root)
    score_texts(root, ["length", POLITE])
    return root


@pytest.fixture
def half(whole: Path, tmp_path: Path) -> Path:
    """Polite has three of six shards, the last ones: as many as are written before a kill, in another order."""
    root = Path(shutil.copytree(whole, tmp_path / "my bank"))
    for path in (root / "scores").glob("polite-*/0000[024].*"):
        path.unlink()
    return root


def test_another_value_that_is_half_scored_changes_nothing_of_the_value_asked_for(whole: Path, half: Path) -> None:
    asked, before = (open_bank(root, ["length"], others=True) for root in (half, whole))
    assert asked.bank.names == ("length",) and before.bank.names == ("length", "polite")
    assert asked.bank.prompts == PROMPTS and asked.left_out == {}
    np.testing.assert_array_equal(asked.bank.rewards[:, :, 0], before.bank.rewards[:, :, 0])
    assert asked.warnings == ["polite is left out: scored are 18 of 36 texts"]


def test_a_value_that_no_text_of_the_asked_one_has_takes_none_of_them(half: Path) -> None:
    for path in (half / "scores").glob("length-*/0000[135].*"):
        path.unlink()
    assert open_bank(half, ["length"], others=True).bank.names == ("length",)
    assert open_bank(half, ["polite"], others=True).bank.prompts == 6


def test_a_text_without_a_number_by_another_value_stays(whole: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "bank"))
    function = tmp_path / "odd.py"
    function.write_text(
        "from latentext.rewards import reward\n\n"
        "@reward('odd')\ndef odd(candidate):\n    return float('nan') if 'dogs' in candidate.prompt else 1.0\n"
    )
    score_texts(root, [f"{function}:odd"])
    bank = open_bank(root, ["length"], others=True)
    assert (bank.bank.prompts, bank.bank.names) == (PROMPTS, ("length", "polite"))


@pytest.mark.parametrize(
    "command",
    [
        ["weigh", "--value_list=polite", "--lam_list=0.1"],
        ["draw", "--value_list=polite", "--lam_list=0.1", "-o", "OUT/drawn.json"],
        ["solve", "--target", "polite=+0.01", "--hold-out", "0"],
        ["sweep", "--value_list=polite,length", "--steps", "1", "--budget", "0.01"],
        ["report", "--value_list=polite", "--lam_list=0.1", "-o", "OUT/report"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_how_many_of_how_many_prompts_it_uses(
    half: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("OUT", str(tmp_path)) for word in command[1:]]
    assert exit_code(["align", command[0], str(half), *words]) == 0
    said = capsys.readouterr().out
    first = "6 prompts are left out; the first is prompt 0: not scored by polite yet"
    assert f"6 of 12 prompts are used: {first}; to score the rest: latentext score '{half}'" in said
    if command[0] == "draw":
        beside = json.loads((tmp_path / "drawn.lam").read_text())
        assert beside["skipped"] == [0, 1, 4, 5, 8, 9]
        assert len(json.loads((tmp_path / "drawn.json").read_text())) == 6


def test_an_unfinished_run_says_how_many_prompts_have_texts(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (*half.glob("*/*/0000[345].*"), half / "metadata.json"):  # As a run that was killed leaves it.
        path.unlink()
    assert exit_code(["align", "weigh", str(half), "--value_list=length", "--lam_list=0.1"]) == 0
    said = capsys.readouterr().out
    assert "6 of 12 prompts are used: 6 prompts are left out; the first is prompt 6: it has no text yet\n" in said


def test_the_command_that_finishes_a_value_works(half: Path) -> None:
    assert score_texts(half).failed == 0
    assert open_bank(half, ["polite"]).warnings == []


def test_a_value_that_is_not_scored_is_offered_only_a_command_that_there_is(whole: Path) -> None:
    with pytest.raises(DatasetError, match=r"--reward humor$"):
        open_bank(whole, ["humor"])
    with pytest.raises(DatasetError, match=r"no scores of mirth; scored are: .*; values with a name are sentiment, "):
        open_bank(whole, ["mirth"])
