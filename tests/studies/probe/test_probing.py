"""From a dataset on the disk to scores: who knows, who does not, and what cannot be asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.probes.made import MadeText, repeating_texts, write_dataset

from latentext.dataset.reader import Dataset
from latentext.errors import DatasetError, SpecError
from latentext.probes.baselines import COUNT_MINUS_STEP, MEAN, SHUFFLED, STEP
from latentext.probes.collecting import captured_sites, collect, make_question
from latentext.probes.division import TEST, Division
from latentext.probes.networks import Training
from latentext.probes.posing import Posed
from latentext.probes.probing import ProbeResult, ask
from latentext.probes.saved import dataset_fingerprint
from latentext.studies.probe.probing import ProbeSettings, evaluate, probe_dataset


def probed(dataset: Dataset, target: str = "remaining", kind: str = "ridge", **division: object) -> ProbeResult:
    rows, source, _ = collect(dataset, captured_sites(dataset), target, Division(**division))
    return ask(Posed(make_question(target, kind), rows, Training(epochs=20)), source)


@pytest.fixture(scope="module")
def result(repeating: Dataset) -> ProbeResult:
    return probed(repeating)


def step_states(site: str, text: MadeText, steps: np.ndarray) -> np.ndarray:
    return np.ones((len(steps), 6)) * steps[:, None]


def value(result: ProbeResult, site: int, metric: str) -> float:
    found = result.sites[site].scores[metric].value
    assert found is not None
    return found


def test_sites_come_by_depth_and_the_one_that_knows_is_found(result: ProbeResult) -> None:
    assert [site.site for site in result.sites] == ["embed", "resid_post.0", "final_norm"]
    assert value(result, 2, "r2") > 0.9 and value(result, 2, "ends_within_0") > 0.95
    assert value(result, 0, "r2") < 0.1
    assert result.sites[2].added["r2"].score.low > 0 and result.sites[0].added["r2"].score.high < 0


def test_a_site_that_holds_the_step_does_not_beat_the_step(result: ProbeResult) -> None:
    added = result.sites[1].added["r2"]
    assert added.score.low is not None and added.score.low <= 0
    step = result.baselines[STEP]["r2"].value
    assert step is not None and value(result, 1, "r2") < step + 0.05


def test_count_minus_step_is_nearly_perfect_where_texts_are_as_long_as_asked(result: ProbeResult) -> None:
    assert result.baselines[COUNT_MINUS_STEP]["r2"].value == pytest.approx(0.95, abs=0.05)
    assert result.baselines[MEAN]["r2"].value <= 0 and result.baselines[MEAN]["ends_within_0"].value == 0.5
    assert result.sites[0].added["r2"].over == COUNT_MINUS_STEP


def test_shuffled_labels_are_not_predicted(result: ProbeResult) -> None:
    for site in result.sites:
        score = site.baselines[SHUFFLED]["r2"]
        assert score.low is not None and score.low <= 0


def test_every_missing_number_has_a_reason(result: ProbeResult) -> None:
    everything = [*result.baselines.values(), *(site.scores for site in result.sites)]
    for score in (score for scores in everything for score in scores.values()):
        assert (score.value is None) == bool(score.reason)
        assert score.value is None or np.isfinite(score.value)


def test_unseen_counts_can_be_tested_on(repeating: Dataset) -> None:
    rows, _, _ = collect(repeating, ["final_norm"], "remaining", Division(test_by="count"))
    assert rows.asked is not None
    assert not set(rows.asked[rows.part == TEST]) & set(rows.asked[rows.part != TEST])
    test, views = rows.of(TEST), repeating.states("final_norm").rows
    known = test.at(range(len(test)))  # What follows by arithmetic, beside what stands in the files.
    assert known.remaining.tolist() == views["remaining"][known.view_row].tolist()
    assert (
        test.record[known.text].tolist()
        == repeating.record_numbers(repeating.states("final_norm"))[known.view_row].tolist()
    )


def test_without_counts_the_baseline_says_so(tmp_path: Path) -> None:
    texts = [MadeText(text.word, text.word, text.length) for text in repeating_texts(40)]  # type: ignore[arg-type]
    result = probed(write_dataset(tmp_path / "data", texts, states=step_states))
    assert COUNT_MINUS_STEP not in result.baselines
    assert result.absent[COUNT_MINUS_STEP] == "the prompts ask for no count"


def test_progress_ends_where_it_is_large_and_totals_say_nothing_of_the_end(repeating: Dataset) -> None:
    progress = probed(repeating, "progress")
    assert value(progress, 2, "ends_within_0") > 0.9
    assert make_question("progress", "mlp").ending == 1 and make_question("remaining", "mlp").ending == -1
    assert progress.sites[2].scores["mape"].reason == "no targets above 5"
    total = probed(repeating, "total")
    assert total.counts["test"][0] == total.counts["test"][1]
    assert set(total.sites[0].added) == {"r2"}


def test_bins_have_accuracy_and_macro_f1_and_the_commonest_bin_as_baseline(repeating: Dataset) -> None:
    bins = probed(repeating, "bins", "mlp")
    assert value(bins, 2, "accuracy") > value(bins, 0, "accuracy")
    assert 0 < value(bins, 2, "macro_f1") <= 1
    assert bins.sites[2].added["accuracy"].score.value is not None
    assert bins.baselines[MEAN]["accuracy"].value < value(bins, 2, "accuracy")


@pytest.mark.parametrize("kind", ["ridge", "mlp"])
def test_a_saved_probe_gives_the_logged_numbers_again(repeating: Dataset, tmp_path: Path, kind: str) -> None:
    settings = ProbeSettings(["final_norm", "resid_post.0"], kind=kind, training=Training(epochs=3), twins=0)
    result = probe_dataset(repeating, settings, tmp_path / "probes")
    facts, scores = evaluate(repeating, tmp_path / "probes" / "resid_post.0")
    assert scores == dict(result.sites[1].scores)
    assert facts.scores == {m: vars(s) for m, s in scores.items()}
    assert (facts.site, facts.pool, facts.width) == ("resid_post.0", "none", 6)
    written = json.loads((tmp_path / "probes" / "results.json").read_text())
    assert written["absent"] == {"untrained twin": "not asked for"}


def test_a_probe_of_other_data_or_another_width_or_damaged_is_refused(repeating: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "probes"
    probe_dataset(repeating, ProbeSettings(["final_norm"], twins=0), folder)
    other = write_dataset(tmp_path / "other", repeating_texts(30), identity="another model")
    with pytest.raises(DatasetError, match="made from another dataset"):
        evaluate(other, folder / "final_norm")
    narrow = write_dataset(tmp_path / "narrow", repeating_texts(30), states=step_states, sites=["embed"])
    with pytest.raises(DatasetError, match="'final_norm' was not captured; captured sites are: layer 0, embed"):
        evaluate(narrow, folder / "final_norm")
    tensors = folder / "final_norm.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\0")
    with pytest.raises(DatasetError, match="not the file that was saved"):
        evaluate(repeating, folder / "final_norm")
    tensors.unlink()
    with pytest.raises(DatasetError, match="make the probe again"):
        evaluate(repeating, folder / "final_norm")


def test_a_dataset_keeps_its_fingerprint_in_later_versions(tmp_path: Path) -> None:
    """A new field of specs, at its default, must not make the probes of old datasets strangers to them."""
    data = write_dataset(tmp_path / "data", repeating_texts(4))
    assert dataset_fingerprint(data) == "e6b3dfbe9f24e791fe341d3405ee9afe199efdf1126309967d6b6152f79896ae"


def test_what_cannot_be_asked_is_one_clear_line(repeating: Dataset, tmp_path: Path) -> None:
    cut = write_dataset(tmp_path / "cut", [MadeText(k, "cat", 5, "length") for k in range(9)])
    with pytest.raises(DatasetError, match="none of 9 texts can be used: 9 cut at the limit"):
        probed(cut)
    with pytest.raises(DatasetError, match=r"the split leaves .* empty: 1 group by prompt"):
        probed(write_dataset(tmp_path / "one", [MadeText(3, "cat", 5)]))
    with pytest.raises(DatasetError, match=r"all .* training targets are 5: there is nothing to predict"):
        probed(write_dataset(tmp_path / "same", [MadeText(k, "cat", 5) for k in range(30)]), "total")
    with pytest.raises(
        DatasetError, match=r"resid_post.7' was not captured; captured sites are: layer 0, embed; layer 1, resid_post.0"
    ):
        collect(repeating, ["resid_post.7"], "remaining", Division())
    with pytest.raises(SpecError, match="a ridge predicts numbers, not bins; use linear or mlp"):
        make_question("bins", "ridge")
