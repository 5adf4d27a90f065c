"""Probes of a real model's texts: its untrained twins, the command, and a probe that watches a text being written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.reader import Dataset
from latentext.probes.collecting import captured_sites, collect
from latentext.probes.division import TEST, Division
from latentext.probes.rows import gather
from latentext.run.runner import make_dataset
from latentext.spec.files import load_spec
from latentext.studies.probe.live_probe import open_live
from latentext.studies.probe.untrained_twin import UntrainedTwin

PROMPTS = [
    "Once upon a time",
    "The cat",
    "One day, a dog",
    "Lily and Tom",
    "A bird",
    "In the park",
    "Mom said",
    "The sun",
]


@pytest.fixture(scope="module")
def stories(stories260k: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Short stories that end by themselves at a full stop, with two sites."""
    root = tmp_path_factory.mktemp("stories") / "data"
    spec = {
        "model": {"name": str(stories260k), "threads": 1},
        "prompts": {"list": PROMPTS, "use_chat_template": False},
        "decoding": {"temperature": 1.0, "max_new_tokens": 60, "n": 3, "stop": "."},
        "states": {"sites": [2, "final_norm"]},
        "shard_size": 3,
    }
    make_dataset(load_spec(spec), root)
    return latentext.open_dataset(root)


def test_a_twin_reads_the_same_tokens_with_random_weights(stories: Dataset, stories260k: Path) -> None:
    rows, source, _ = collect(stories, captured_sites(stories), "remaining", Division())
    twin = UntrainedTwin(stories, ["final_norm"], seed=1)
    wanted = rows.of(TEST)
    found, known = gather(twin, "final_norm", wanted), wanted.at(range(len(wanted)))
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(stories260k), dtype=torch.float32).eval()
    records = stories.records(["prompt_token_ids", "token_ids"]).to_pylist()
    for text, record in enumerate(wanted.record.tolist()):
        prompt, generated = records[record]["prompt_token_ids"], records[record]["token_ids"]
        with torch.inference_mode():
            states = model(torch.tensor([prompt + generated]), output_hidden_states=True).hidden_states[-1][0]
        expected = states[len(prompt) - 1 : len(prompt) + len(generated) - 1].numpy()
        mine = known.text == text
        np.testing.assert_allclose(found[mine], expected[known.step[mine]], atol=1e-4)
    trained = gather(source, "final_norm", wanted)
    assert np.abs(trained - found).mean() > 0.1


def test_the_command_prints_scores_and_baselines_and_writes_them(
    stories: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(stories.directory, tmp_path / "data")
    assert exit_code(["probe", str(root), "--twins", "2", "--target", "log_remaining"]) == 0
    printed = capsys.readouterr().out
    for expected in ("resid_post.1", "final_norm", "untrained twin", "step + prompt length", "R² by depth"):
        assert expected in printed
    assert "nan" not in printed
    assert "count - step: not made, the prompts ask for no count" in printed
    saved = root / "probes" / "log_remaining-ridge"
    assert (saved / "results.json").exists()
    assert exit_code(["probe", str(root), "--probe", str(saved / "final_norm.json")]) == 0
    for line in capsys.readouterr().out.splitlines()[2:]:
        assert line.split()[-1] == line.split()[-2], line
    assert exit_code(["verify", str(root)]) == 0


def test_a_text_is_watched_as_it_is_written(
    stories: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(stories.directory, tmp_path / "data")
    assert exit_code(["probe", str(root), "--site", "final_norm", "--twins", "0"]) == 0
    live = open_live(latentext.open_dataset(root), root / "probes" / "remaining-ridge" / "final_norm")
    text = live.watch(PROMPTS[0])
    assert [step.actual for step in text.steps] == list(reversed(range(len(text.steps))))
    assert text.mae == pytest.approx(np.mean([abs(step.predicted - step.actual) for step in text.steps]))
    assert "".join(step.token for step in text.steps).strip().startswith(text.text.strip())
    capsys.readouterr()
    assert exit_code(["probe", str(root), "--site", "final_norm", "--try", PROMPTS[0]]) == 0
    alone = capsys.readouterr().out
    assert f"MAE {text.mae:.3f}" in alone and len(alone.splitlines()) == len(text.steps) + 4
    lines = iter([PROMPTS[0], ""])
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    assert exit_code(["probe", str(root), "--site", "final_norm", "--interactive"]) == 0
    assert capsys.readouterr().out == alone


def test_a_live_probe_predicts_what_a_probe_of_the_dataset_predicts(stories: Dataset, tmp_path: Path) -> None:
    spec = stories.spec
    greedy = spec.model_copy(update={"decoding": spec.decoding.model_copy(update={"temperature": 0.0, "n": 1})})
    root = tmp_path / "greedy"
    make_dataset(greedy.model_copy(update={"model": load_spec(spec.model_dump(mode="json")).model}), root)
    data = latentext.open_dataset(root)
    assert exit_code(["probe", str(root), "--site", "final_norm", "--twins", "0"]) == 0
    live = open_live(data, root / "probes" / "remaining-ridge" / "final_norm")
    states = data.states("final_norm")
    expected = live.probe.predict(states[states.text(2)])[:, 0]
    watched = [step.predicted for step in live.watch(PROMPTS[2]).steps]
    np.testing.assert_allclose(watched, expected, rtol=1e-3, atol=1e-2)
