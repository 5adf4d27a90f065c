"""Scores and checks as stages: with the run, added later, continued, and grown with the samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.made import commits, contents, small_spec

import latentext
from latentext.cli.app import exit_code
from latentext.dataset import layout
from latentext.dataset.checks import kept_records, verdicts
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.scores import write_scores
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import DatasetError, LatentextError, SpecError
from latentext.export.npy import export_npy
from latentext.export.tables import export_table
from latentext.rewards import Candidate, load_scorer, parse_reward
from latentext.rewards.encoding import reward_model_from
from latentext.run.runner import make_dataset, score_texts
from latentext.run.verification import verify
from latentext.spec import Spec, SplitSpec, StatesSpec

Copied = Callable[..., Path]

FUNCTIONS = """
from latentext.rewards import reward

@reward("half")
def half(candidate):
    return float("nan") if "dog" in candidate.prompt else 0.5

@reward("broken")
def broken(candidate):
    raise KeyError("no such word")
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return path


def checked_spec(model: str, **changes: Any) -> Spec:
    return small_spec(model, **{"check": {"repetition": {}}, "rewards": ["length"]} | changes)


def metadata(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "metadata.json").read_text())
    return found


def test_scores_added_later_are_those_of_a_run_at_once(
    spec: Spec, copied: Copied, tmp_path: Path, engine: TransformersEngine
) -> None:
    root = copied()
    before = commits(root)
    summary = score_texts(root, ["length", {"name": "polite", "words": ["little"]}], engine=engine)
    assert (summary.accepted, summary.tokens) == (8, 0)
    assert {name: commits(root)[name] for name in before} == before
    asked = spec.model_copy(update={"rewards": ("length", {"name": "polite", "words": ["little"]})})
    make_dataset(asked, tmp_path / "at-once", engine=engine)
    assert contents(root) == contents(tmp_path / "at-once")
    assert verify(root) == []
    data = latentext.open_dataset(root)
    words = [len(text.split()) for text in data.records(["text"])["text"].to_pylist()]
    assert np.abs(data.scores("length")["score"].to_numpy() - words).max() <= 3  # Words are split at apostrophes too.


def test_a_killed_scoring_goes_on_where_it_was(copied: Copied, engine: TransformersEngine) -> None:
    root = copied()
    score_texts(root, ["length"], engine=engine)
    whole = contents(root)
    folder = next((root / "scores").iterdir())
    (folder / "00001.receipt.json").unlink()
    (folder / "00003.parquet").write_bytes(b"cut")
    kept = (folder / "00000.parquet").stat().st_mtime_ns
    score_texts(root, engine=engine)
    assert contents(root) == whole
    assert (folder / "00000.parquet").stat().st_mtime_ns == kept


def test_samples_added_later_are_scored_too(spec: Spec, copied: Copied, engine: TransformersEngine) -> None:
    root = copied()
    score_texts(root, ["length"], engine=engine)
    grown = spec.model_copy(update={"decoding": spec.decoding.model_copy(update={"n": 3})})
    assert make_dataset(grown, root, engine=engine).accepted == 24
    assert latentext.open_dataset(root).scores("length").num_rows == 24
    assert verify(root) == []


def test_numbers_that_are_not_finite_are_failures_of_their_text(
    copied: Copied, functions: Path, engine: TransformersEngine
) -> None:
    root = copied()
    summary = score_texts(root, [f"{functions}:half"], engine=engine)
    assert (summary.accepted, summary.failed) == (8, 0)
    failures = [json.loads(line) for line in (root / "failures.jsonl").read_text().splitlines()]
    assert {f["reason"] for f in failures} == {"no-score"}
    assert failures[0]["message"] == "half: score is nan" and failures[0]["stage"].startswith("scores/half-")
    prompts = latentext.open_dataset(root).records(["prompt"])["prompt"].to_pylist()
    scores = latentext.open_dataset(root).scores("half")["score"].to_pylist()
    assert scores == [None if "dog" in prompt else 0.5 for prompt in prompts]
    functions.write_text(FUNCTIONS.replace('float("nan")', "1.0"))  # Another function: other scores beside these.
    score_texts(root, [f"{functions}:half"], engine=engine)
    assert sum(name.startswith("half-") for name in latentext.open_dataset(root).rewards) == 2


def test_a_function_that_raises_stops_with_its_text_and_keeps_what_is_done(
    copied: Copied, functions: Path, engine: TransformersEngine
) -> None:
    root = copied()
    with pytest.raises(LatentextError, match=r"reward broken failed on the text .* KeyError"):
        score_texts(root, ["length", f"{functions}:broken"], engine=engine)
    assert latentext.open_dataset(root).scores("length").num_rows == 8


@pytest.mark.parametrize(
    ("entry", "why"),
    [("lenght", "did you mean length"), ("no_such.py:f", "no such file"), ({"name": "x"}, "a reward is one of")],
)
def test_a_reward_that_is_not_there_is_refused_before_anything_is_written(
    copied: Copied, entry: Any, why: str, tmp_path: Path, spec: Spec, engine: TransformersEngine
) -> None:
    root = copied()
    files = contents(root)
    with pytest.raises(SpecError, match=why):
        score_texts(root, [entry], engine=engine)
    assert contents(root) == files
    with pytest.raises(SpecError, match=why):
        make_dataset(spec.model_copy(update={"rewards": (entry,)}), tmp_path / "new", engine=engine)
    assert not (tmp_path / "new").exists()


def test_perplexity_is_under_the_model_that_wrote_the_texts(copied: Copied, engine: TransformersEngine) -> None:
    root = copied()
    score_texts(root, ["perplexity"], engine=engine)
    data = latentext.open_dataset(root)
    row = data.records().slice(2, 1).to_pylist()[0]
    candidate = Candidate(
        row["prompt"], row["text"], prompt_token_ids=tuple(row["prompt_token_ids"]), token_ids=tuple(row["token_ids"])
    )
    generator = reward_model_from(engine.loaded.model, engine.loaded.tokenizer)
    alone = load_scorer(parse_reward("perplexity"), generator=generator)([candidate])
    assert data.scores("perplexity")["score"][2].as_py() == pytest.approx(alone[0], abs=1e-5)


def test_a_function_moves_with_its_dataset(copied: Copied, functions: Path, engine: TransformersEngine) -> None:
    root = copied("data")
    score_texts(root, [f"{functions}:half"], engine=engine)
    assert "../functions.py:half" in (root / "spec.yaml").read_text()
    assert latentext.open_dataset(root).spec.rewards == (f"{functions}:half",)


def test_counts_follow_from_the_check(spec: Spec, tmp_path: Path, engine: TransformersEngine) -> None:
    asked = checked_spec(spec.model.name)
    summary = make_dataset(asked, tmp_path / "data", engine=engine)
    # Stories do not repeat a word: all are rejected, and all are still there.
    assert (summary.planned, summary.accepted, summary.rejected, summary.failed, summary.pending) == (8, 0, 8, 0, 0)
    found = metadata(tmp_path / "data")
    assert found["counts"]["rejected"] == found["rejected_samples"] == found["attempted_samples"] == 8
    assert found["correctness_stats"]["accuracy"] == 0
    data = latentext.open_dataset(tmp_path / "data")
    assert data.records().num_rows == 8
    assert verify(tmp_path / "data") == []
    assert not kept_records(data, "accepted").any() and kept_records(data).all()


def test_an_unchecked_text_is_pending_until_it_is_judged(
    spec: Spec, tmp_path: Path, engine: TransformersEngine
) -> None:
    root = tmp_path / "data"
    make_dataset(checked_spec(spec.model.name), root, engine=engine)
    whole = contents(root)
    shutil.rmtree(next((root / "scores").glob("repetition-*")))
    assert latentext.capture_states(root, StatesSpec(sites=("embed",)), engine=engine).pending == 8
    score_texts(root, engine=engine)
    after = contents(root)
    assert {n: h for n, h in after.items() if n.startswith("scores/")} == {
        n: h for n, h in whole.items() if n.startswith("scores/")
    }
    assert metadata(root)["counts"]["pending"] == 0


def test_rows_without_a_word_fail_the_check_and_nothing_else(
    spec: Spec, tmp_path: Path, engine: TransformersEngine
) -> None:
    rows = [{"prompt": "Once there was", "word": "was", "count": 1}, {"prompt": "The cat", "count": 2}]
    asked = checked_spec(spec.model.name, prompts={"list": rows, "use_chat_template": False})
    summary = make_dataset(asked, tmp_path / "data", engine=engine)
    assert (summary.planned, summary.rejected, summary.failed, summary.exit_code) == (2, 1, 1, 4)
    assert "no word in 'word'" in (tmp_path / "data" / "failures.jsonl").read_text()
    assert np.isnan(verdicts(latentext.open_dataset(tmp_path / "data"))["accepted"]).tolist() == [False, True]


def test_exports_keep_what_the_spec_says(spec: Spec, tmp_path: Path, engine: TransformersEngine) -> None:
    asked = checked_spec(spec.model.name, check={"repetition": {}, "keep": "accepted"})
    make_dataset(asked, tmp_path / "data", engine=engine)
    data = latentext.open_dataset(tmp_path / "data")
    with pytest.raises(DatasetError, match="8 by the check"):
        export_npy(data, tmp_path / "npy", decode_token=str, truncated="keep")
    assert data.records().num_rows == 8


def test_a_check_of_variables_that_the_grid_lacks_is_refused() -> None:
    with pytest.raises(SpecError, match=r"check.repetition needs 'words'; the grid has count, word"):
        small_spec("tiny", check={"repetition": {"word": "words"}})


def test_the_command_scores_and_says_what_is_there(copied: Copied, capsys: pytest.CaptureFixture[str]) -> None:
    root = copied()
    arguments = ["--reward", "length", "--reward", "{name: polite, words: [little, dear]}"]
    assert exit_code(["score", str(root), *arguments]) == 0
    assert "8 texts scored: length\n8 texts scored: polite\n" in capsys.readouterr().out
    assert set(latentext.open_dataset(root).score_sets) == {"length", "polite"}
    assert exit_code(["status", str(root)]) == 0
    assert "scores: polite" in capsys.readouterr().out
    assert exit_code(["score", str(root), "--reward", "{name: polite"]) == 2


def write_verdicts(root: Path, accepted: set[int]) -> None:
    """Verdicts as if some of the texts had repeated their word: a small model of stories never does."""
    (stage,) = [s for s in layout.list_stages(root, "scores") if s.startswith("scores/repetition-")]
    for number in layout.list_shards(root, stage):
        receipt = read_receipt(root / stage / layout.receipt_name(number))
        index = list(range(receipt.start, receipt.stop))
        here = [float(i in accepted) for i in index]
        columns = {"accepted": here, "exact": [0.0] * len(index), "count_found": here, "count_error": here}
        file = write_scores(root / stage / layout.table_name(number), index, [0] * len(index), columns)
        fields = receipt.model_dump(exclude={"format_version", "sha256", "files"})
        write_receipt(root / stage / layout.receipt_name(number), files=[file], **fields)


def test_readers_and_exports_filter_by_verdict(spec: Spec, tmp_path: Path, engine: TransformersEngine) -> None:
    root = tmp_path / "data"
    make_dataset(checked_spec(spec.model.name), root, engine=engine)
    write_verdicts(root, {1, 2, 6, 7})
    data = latentext.open_dataset(root)
    assert np.flatnonzero(kept_records(data, "accepted")).tolist() == [1, 2, 6, 7]
    assert not kept_records(data, "exact").any()
    options: dict[str, Any] = {"decode_token": str, "truncated": "keep", "split": SplitSpec(val=0.5, by="index")}
    everything = export_npy(data, tmp_path / "all", **options)
    kept = export_npy(data, tmp_path / "kept", keep="accepted", **options)
    assert (everything["total_samples"], kept["total_samples"]) == (8, 4)
    assert (everything["rejected_texts"], kept["rejected_texts"]) == ({"dropped": 0}, {"dropped": 4})
    assert kept["planned_samples"] == 8 and "correctness_stats" in kept
    assert export_table(data, tmp_path / "kept.jsonl", keep="accepted") == 4
    rows = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == [1, 2, 6, 7]
    assert all(row["repetition.accepted"] == 1 for row in rows)
    assert export_table(data, tmp_path / "all.jsonl") == 8


def test_keeping_by_a_check_that_is_not_there_says_so(copied: Copied, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="its texts are not checked; give the spec a check"):
        export_table(latentext.open_dataset(copied()), tmp_path / "kept.jsonl", keep="exact")
