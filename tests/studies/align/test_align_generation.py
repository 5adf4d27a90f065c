"""The class of MAP's gendata on real prompts: its names, its files, and what it refuses before it loads a model."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentext
from latentext.compat import map_gendata
from latentext.errors import SpecError
from latentext.run import runner
from latentext.studies.align import diagnose, tilt
from latentext.studies.align.files import read_beside
from latentext.studies.align.generation import MAP_VALUES, TextGeneration
from latentext.studies.align.merging import find_parts, merge
from latentext.studies.align.text_bank import open_bank

HARMLESS = "Anthropic-harmless"
WORDS = {"name": "words", "words": ["the", "a"]}


def generation(folder: Path, data_name: str = HARMLESS, **options: Any) -> TextGeneration:
    return TextGeneration("tiny", data_name, folder, **{"max_new_tokens": 8, **options})


def rows(path: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found


@pytest.fixture(autouse=True)
def _few_samples_are_meant(local_prompts: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*samples a prompt are too few.*|λ is so large.*", UserWarning)
        yield


def test_attributes_and_defaults_are_those_of_map() -> None:
    """Source: the documentation of MAP's gendata."""
    made = TextGeneration("facebook/opt-1.3b", "Imdb", device="cpu")
    assert (made.basemodel_name, made.data_name, made.basemodel_filename) == ("facebook/opt-1.3b", "Imdb", "opt-1.3b")
    assert (made.device, made.file_path) == ("cpu", "results/opt-1.3b-Imdb.json")
    assert (made.top_k, made.max_new_tokens) == (50, 50)
    config = made.generation_config
    assert (config.do_sample, config.temperature, config.top_k, config.max_new_tokens) == (True, 1.0, 50, 50)
    assert map_gendata.TextGeneration is TextGeneration


def test_short_names_stand_for_published_models(tmp_path: Path) -> None:
    for name, published in [("llama2_chat", "meta-llama/Llama-2-7b-chat-hf"), ("opt1.3b", "facebook/opt-1.3b")]:
        made = TextGeneration(name, HARMLESS, tmp_path)
        assert made._spec(2, ("length",), 32).model.name == published
        assert Path(made.file_path).name == f"{name}-Anthropic-harmless.json"


def test_the_models_own_texts_have_maps_form(tmp_path: Path, local_prompts: Path) -> None:
    lines = (local_prompts / "imdb-paired-dev.tsv").read_text(encoding="utf-8").splitlines(keepends=True)[:5]
    (tmp_path / "reviews.tsv").write_text("".join(lines), encoding="utf-8")
    made = generation(tmp_path / "results", "Imdb", prompts=tmp_path / "reviews.tsv")
    path = made.generate_from_original_model(batch_size=2)
    assert str(path) == made.file_path == str(tmp_path / "results" / "tiny-Imdb.json")
    found = rows(path)
    assert len(found) == 4
    for row in found:
        assert list(row) == ["prompt", "generated", "perplexity"]
        assert row["generated"].startswith(row["prompt"]) and 0 < len(row["prompt"]) <= 30
        assert math.isfinite(row["perplexity"]) and row["perplexity"] < 0
    assert latentext.open_dataset(made.dataset).spec.shard_size == 2


@pytest.fixture(scope="module")
def sampled(materials: Path, tmp_path_factory: pytest.TempPathFactory) -> TextGeneration:
    """Ten prompts, six samples each, by a value of its own and by sentiment."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        patch.setenv("LATENTEXT_MATERIALS", str(materials))
        made = generation(tmp_path_factory.mktemp("results"), rewards=[WORDS])
        made.generate_from_MC_aligned_model("2.0,-1", "sentiment,words", 6, 0, 10)
    return made


def test_drawn_texts_are_samples_of_their_prompts_in_maps_file(sampled: TextGeneration, materials: Path) -> None:
    path = (
        Path(sampled.save_directory)
        / "temp"
        / "tiny-Anthropic-harmless_lam=2.000,-1.000_val=sentiment,words_0to10.json"
    )
    found = rows(path)
    published = json.loads((materials / "rewards" / "opt1.3b-Anthropic-harmless.json").read_text())
    assert [row["prompt"] for row in found] == [row["prompt"] for row in published[:10]]
    data = latentext.open_dataset(sampled.dataset)
    texts = data.records(["index", "text"]).to_pylist()
    for number, row in enumerate(found):
        assert list(row) == ["prompt", "generated"]
        assert row["generated"].removeprefix(row["prompt"]) in [t["text"] for t in texts if t["index"] == number]
    assert read_beside(path) == {
        "lam": {"sentiment": 2.0, "words": -1.0},
        "settings": {"samples": 6, "seed": 0, "trim": None},
        "skipped": [],
    }


def test_another_lambda_over_the_same_values_loads_no_model(
    sampled: TextGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("latentext.run.workspace.open_engine", refuse)
    again = sampled.generate_from_MC_aligned_model([-3.0, 0.0], ["sentiment", "words"], 6, 0, 10)
    before = sampled.generate_from_MC_aligned_model([0.0, 0.0], ["sentiment", "words"], 6, 0, 10)
    assert again.diagnosis.levels[0] < before.diagnosis.levels[0] == pytest.approx(before.diagnosis.base_levels[0])
    fewer = sampled.generate_from_MC_aligned_model(1.0, "sentiment", 4, 2, 8)
    assert fewer.texts == 6 and fewer.diagnosis.largest_divergence == pytest.approx(math.log(4))


def test_more_samples_and_values_are_added_to_what_is_there(sampled: TextGeneration) -> None:
    before = {path: path.read_bytes() for path in sampled.dataset.glob("records/*/*.parquet")}
    sampled.generate_from_MC_aligned_model("0.1", "length", 9, 0, 10)
    bank = open_bank(sampled.dataset).bank
    assert (bank.names, bank.prompts, bank.samples) == (("sentiment", "words", "length"), 10, 9)
    assert {path: path.read_bytes() for path in before} == before
    assert (bank.rewards[:, :, 2] > 0).any()


def test_shards_and_their_merger_are_one_run_text_for_text(tmp_path: Path, sampled: TextGeneration) -> None:
    whole = sampled.generate_from_MC_aligned_model(2.0, "sentiment", 6, 0, 10)
    parts = [  # Each part in a directory of its own, as on machines that share nothing.
        generation(tmp_path / str(start)).generate_from_MC_aligned_model(2.0, "sentiment", 6, start, end)
        for start, end in ((0, 4), (4, 10))
    ]
    for part in parts[1:]:
        for path in part.path.parent.iterdir():
            path.rename(parts[0].path.parent / path.name)
    stem = whole.path.name.removesuffix("_0to10.json")
    merge([found.path for found in find_parts(parts[0].path.parent, stem)], tmp_path / "merged.json", prompts=10)
    assert (tmp_path / "merged.json").read_bytes() == whole.path.read_bytes()
    # The second part's directory holds only the shards that it needed: of the first one, the part that overlaps.
    assert (
        latentext.open_dataset(tmp_path / "4" / "tiny-Anthropic-harmless").records(["index"])["index"].to_pylist()[-1]
        == 9
    )


def test_an_interrupted_call_is_continued_by_the_same_call(
    tmp_path: Path, sampled: TextGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sampled.generate_from_MC_aligned_model(2.0, "sentiment", 6, 0, 10)
    made = generation(tmp_path)
    monkeypatch.setattr("latentext.studies.align.generation.PROMPTS_A_SHARD", 4)
    finish = runner.finish_stage

    def interrupted(workspace: Any, work: Any, progress: Any, advance: Any) -> None:
        def once(texts: int, tokens: int) -> None:
            advance(texts, tokens)
            raise KeyboardInterrupt

        finish(workspace, work, progress, once)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner, "finish_stage", interrupted)
        made.generate_from_MC_aligned_model(2.0, "sentiment", 6, 0, 10)
    assert not list(tmp_path.glob("temp/*"))
    drawn = made.generate_from_MC_aligned_model(2.0, "sentiment", 6, 0, 10)
    assert drawn.path.read_bytes() == whole.path.read_bytes()


def test_two_lambdas_with_one_rounded_name_are_refused_before_anything_runs(sampled: TextGeneration) -> None:
    first = sampled.generate_from_MC_aligned_model(0.1234, "sentiment", 6, 0, 3)
    content = first.path.read_bytes()
    with pytest.raises(SpecError, match=r"holds the texts of λ sentiment=0\.1234, and λ sentiment=0\.1231"):
        sampled.generate_from_MC_aligned_model(0.1231, "sentiment", 6, 0, 3)
    assert first.path.read_bytes() == content
    sampled.full_names = True
    try:
        second = sampled.generate_from_MC_aligned_model(0.1231, "sentiment", 6, 0, 3)
    finally:
        sampled.full_names = False
    assert "_lam=0.1231_val=" in second.path.name
    assert rows(second.path)[0]["lam"] == {"sentiment": 0.1231}


def test_trimmed_texts_end_with_a_sentence_or_are_the_prompt(sampled: TextGeneration) -> None:
    sampled.trim = "sentence"
    try:
        found = rows(sampled.generate_from_MC_aligned_model(0.7, "sentiment", 6, 0, 10).path)
    finally:
        sampled.trim = None
    for row in found:
        assert row["generated"] == row["prompt"] or row["generated"].rstrip("\"'”’)]")[-1] in ".!?…"


def test_a_prompt_without_a_marker_is_skipped_by_number_and_is_no_gap(tmp_path: Path) -> None:
    dialogues = ["Human: why?\n\nAssistant: no.", "no marks", "Human: how?\n\nAssistant: so."]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"chosen": text}) + "\n" for text in dialogues))
    made = generation(tmp_path / "results", prompts=tmp_path / "d.jsonl")
    with pytest.warns(UserWarning, match="1 prompt is left out; the first is prompt 1: .* has no 'Human:'"):
        drawn = made.generate_from_MC_aligned_model(1.0, "sentiment", 4)
    assert [row["prompt"] for row in rows(drawn.path)] == ["why?", "how?"]
    assert drawn.path.name.endswith("_0to3.json") and list(drawn.skipped) == [1]
    assert merge([drawn.path], tmp_path / "merged.json", prompts=3) == 2
    with pytest.warns(UserWarning, match="1 prompt has no text"):
        assert len(rows(made.generate_from_original_model())) == 2


def test_a_reward_that_is_not_finite_is_named_with_its_prompt(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from latentext.rewards import reward\n\n"
        '@reward("odd")\ndef odd(candidate):\n    return float("inf") if "how" in candidate.prompt else 1.0\n'
    )
    made = generation(
        tmp_path / "results", "mine", prompts={"list": ["why", "how"], "use_chat_template": False},
        rewards=[f"{tmp_path / 'mine.py'}:odd"],
    )  # fmt: skip
    with pytest.warns(UserWarning, match=r"prompt 1: sample \d: odd: score is inf"):
        drawn = made.generate_from_MC_aligned_model(1.0, "odd", 4)
    assert list(drawn.skipped) == [1] and "odd is the same for all samples" in drawn.diagnosis.warnings[0]


@pytest.mark.parametrize(
    ("lam_list", "value_list", "options", "message"),
    [
        (
            "1,2",
            "sentiment",
            {},
            r"2 λ for 1 values \(sentiment\); .*; known values are sentiment, length",
        ),
        (1.0, "mirth", {}, "unknown value 'mirth'; known are sentiment, length"),
        ("1,2", "all", {}, "2 λ for 6 values .*humor, gpt2-helpful, gpt2-harmless, diversity, coherence, perplexity"),
        ("x", "sentiment", {}, "λ must be finite numbers, not 'x'"),
        (1.0, "sentiment", {"MC_nsamples": 1}, "one sample a prompt leaves λ nothing to choose from"),
    ],
)
def test_what_does_not_fit_is_a_value_error_that_names_what_is_known(
    lam_list: Any, value_list: str, options: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        generation(tmp_path).generate_from_MC_aligned_model(lam_list, value_list, **options)
    assert not list(tmp_path.iterdir())


def test_unknown_data_and_temperature_zero_are_value_errors(tmp_path: Path) -> None:
    for call in ("generate_from_original_model", "generate_from_MC_aligned_model"):
        arguments = () if call == "generate_from_original_model" else (1.0, "sentiment")
        with pytest.raises(ValueError, match="unknown data_name 'Imbd'; known are Anthropic-harmless, Imdb"):
            getattr(generation(tmp_path, "Imbd"), call)(*arguments)
    with pytest.raises(ValueError, match="temperature is 0: all samples of a prompt would be the same text"):
        generation(tmp_path, temperature=0.0).generate_from_MC_aligned_model(1.0, "sentiment")
    assert not list(tmp_path.iterdir())


def test_a_reward_model_that_cannot_be_loaded_stops_before_any_text(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="humor-no-humor"):
        generation(tmp_path).generate_from_MC_aligned_model(1.0, "humor", 4, 0, 2)
    assert not list(tmp_path.glob("*/records"))


def test_all_stands_for_maps_six_values() -> None:
    """Source: the result files that MAP published, ``…_lam=6.297,0.834,0.929,0.013,0.026,0.032_val=all.json``."""
    for names in ("all", ["all"]):
        palette, all_values = TextGeneration("tiny", HARMLESS)._palette("6.297,0.834,0.929,0.013,0.026,0.032", names)
        assert all_values and tuple(palette) == MAP_VALUES


def test_draws_follow_the_weights_over_seeds(sampled: TextGeneration) -> None:
    """The text of the first prompt, drawn with 400 seeds, comes as often as its samples weigh."""
    from latentext.studies.align import draw

    bank = open_bank(sampled.dataset, ["sentiment"], requests=range(10), samples=6).bank
    weights = tilt(bank, 1.5)
    drawn = np.stack([draw(bank, weights, seed=seed)[:, 0] for seed in range(400)])
    shares = np.stack([(drawn == sample).mean(axis=0) for sample in range(6)], axis=1)
    assert np.abs(shares - weights.weights).max() < 0.11  # Four standard errors of a share of 400.
    assert diagnose(bank, 0.0).levels == pytest.approx(bank.base_levels)
