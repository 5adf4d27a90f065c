"""Every text and every row of states is counted once: as taking part, or under the reason why it does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.probes.made import MadeText, write_dataset

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.reader import open_dataset
from latentext.probes.collecting import captured_sites, collect
from latentext.probes.division import Division
from latentext.spec.files import load_spec


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("target", ["remaining", "total"])
def test_texts_and_rows_that_take_part_and_those_that_do_not_are_all_there_are(
    tmp_path: Path, seed: int, target: str
) -> None:
    rng = np.random.default_rng(seed)
    reasons = rng.choice(["stop", "length", "unknown"], 90, p=[0.6, 0.3, 0.1])
    texts = [
        MadeText(int(n), "cat", int(n), str(reason)) for n, reason in zip(rng.integers(2, 30, 90), reasons, strict=True)
    ]
    data = write_dataset(tmp_path / "data", texts)
    rows, _, part = collect(data, captured_sites(data), target, Division(seed=seed))
    whole = [text for text in texts if text.finish_reason == "stop"]
    assert (part.all_texts, part.all_rows) == (90, sum(text.length for text in texts))
    assert (part.texts, part.rows) == (len(whole), len(rows))
    assert part.rows == (len(whole) if target == "total" else sum(text.length for text in whole))
    found = {left.reason: (left.texts, left.rows) for left in part.left_out}
    for reason, words in (("length", "cut at the limit"), ("unknown", "ended for an unknown reason")):
        those = [text.length for text in texts if text.finish_reason == reason]
        assert found.pop(words, (0, 0)) == (len(those), sum(those))
    if target == "total":
        assert found.pop("rows without this target") == (0, sum(text.length - 1 for text in whole))
    assert not found


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts that fail and that are cut, and a capture with rows of prompts, of which a shard is missing."""
    root = tmp_path_factory.mktemp("mixed") / "data"
    words = [f"word {k}" for k in range(27)] + ["long " * 3000]
    rows = [f'Print exactly {2 + k % 9} repetitions of "{word}".' for k, word in enumerate(words)]
    spec = {
        "model": "tiny",
        "prompts": {"list": rows},
        "decoding": {"max_new_tokens": 12, "n": 2, "temperature": 1},
        "states": {"sites": [2], "positions": "all"},
        "shard_size": 7,
    }
    latentext.make_dataset(load_spec(spec), root)
    for path in root.glob("states/*/00001*"):
        path.unlink()
    return root


def test_failed_texts_texts_without_states_and_rows_of_prompts_are_counted(mixed: Path) -> None:
    data = open_dataset(mixed)
    _, _, part = collect(data, [2], "remaining", Division())
    found = {left.reason: (left.texts, left.rows) for left in part.left_out}
    records = data.records(["finish_reason", "index"]).to_pylist()
    missing = [record for record in records if 7 <= record["index"] < 14]
    assert part.all_texts == 28 * 2
    assert part.all_rows == len(data.states(2))
    assert found["the request failed"] == (2, 0)
    assert found["no states were captured"][0] == sum(record["finish_reason"] == "stop" for record in missing)
    cut = [record for record in records if record["finish_reason"] == "length"]
    assert found.get("cut at the limit", (0, 0))[0] == len(cut)
    assert found["rows of the prompt"][0] == 0
    assert found["rows of the prompt"][1] == int((data.states(2).rows["remaining"] < 0).sum())


def test_the_output_the_file_of_results_and_the_pictures_say_who_takes_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    words = ["run", "length/same_prompt", "--limit", "60", "--output", str(root)]
    options = ["--set", "decoding.max_new_tokens=9", "--set", "states={sites: [2]}"]
    assert exit_code([*words, *options]) == 0
    capsys.readouterr()
    assert exit_code(["probe", str(root), "--twins", "0", "--keep", "all"]) == 0
    logged = json.loads((root / "probes" / "remaining-ridge" / "results.json").read_text())["taking_part"]
    left = logged["left_out"]
    for what in ("texts", "rows"):
        assert logged["all"][what] == logged["taking_part"][what] + sum(reason[what] for reason in left)
    records = open_dataset(root).records(["finish_reason", "token_ids"]).to_pylist()
    cut = [row for row in records if row["finish_reason"] == "length"]
    assert left == [
        {"reason": "cut at the limit", "texts": len(cut), "rows": sum(len(row["token_ids"]) for row in cut)}
    ]
    sentence = f"left out: {len(cut)} texts, {left[0]['rows']} rows (cut at the limit)"
    assert cut and sentence in capsys.readouterr().out
    assert exit_code(["report", str(root)]) == 0
    page = (root / "report" / "index.html").read_text()
    assert page.count(sentence) >= 2  # Beneath the picture of scores and that of predictions.


def test_a_probe_of_given_texts_says_that_nobody_wrote_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = Path(__file__).parents[1] / "data" / "made_by_0.1.0" / "pairs"
    assert exit_code(["probe", str(pairs)]) == 1
    said = capsys.readouterr().err
    assert "the model wrote nothing" in said and "cut" not in said and "capture DIR" not in said
