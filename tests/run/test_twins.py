"""Pairs in a run: both twins as given texts, their states aligned, equal to plain transformers."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import latentext
from latentext.dataset.targets import text_lengths
from latentext.errors import SpecError
from latentext.models.resolve import TINY_FOLDER
from latentext.run.runner import capture_states, make_dataset
from latentext.spec import TINY, StatesSpec
from latentext.spec.files import load_spec
from latentext.studies.pairs import (
    Scenario,
    in_forms,
    load_bank,
    load_task,
    load_tokenizer,
    validate_pairs,
    write_scenarios,
)
from latentext.studies.pairs.twins import twins

TASK = load_task("refusal")
SITES = ("embed", "resid_post.1", "final_norm")
TIMES = [(f"I saw {n} cats at {n} o'clock", f"I saw {n} hats at {n} o'clock") for n in "abcdefgh"]
"""Twins for a tokenizer that spells: they differ in one letter."""


def pairs_under(model: str, count: int) -> list[Scenario]:
    """Scenarios that are valid under a model's own tokenizer."""
    pairs = TIMES + [candidate.tasks for candidate in load_bank("refusal").candidates()]
    checks = validate_pairs(pairs, [load_tokenizer(model)], TASK.forms)
    valid = (pair for pair, check in zip(pairs, checks, strict=True) if check.valid)
    return [in_forms(n, "refusal", TASK.forms, pair) for n, pair in enumerate(islice(valid, count))]


def spec_of(file: Path, model: str = TINY, **changes: object) -> dict[str, object]:
    return {
        "name": "twins",
        "model": {"name": model, "dtype": "float32"},
        "prompts": {"pairs": str(file), "use_chat_template": False},
        "decoding": {"max_new_tokens": 0},
        "states": {"sites": list(SITES), "positions": "text"},
        **changes,
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("name", [TINY, "stories260k"])
def test_states_of_twins_are_those_of_plain_transformers_and_equal_up_to_the_token_that_differs(
    name: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = TINY_FOLDER if name == TINY else request.getfixturevalue("stories260k")
    file = tmp_path / f"pairs{suffix}"
    scenarios = pairs_under(str(folder), 3)
    write_scenarios(file, scenarios)
    summary = make_dataset(load_spec(spec_of(file, str(folder), shard_size=4)), tmp_path / "data")
    assert (summary.planned, summary.accepted) == (12, 12)

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    data = latentext.open_dataset(tmp_path / "data")
    blocks = model.config.num_hidden_layers
    for site, index in zip(SITES, (0, 2, blocks), strict=True):
        found = list(twins(data, site))
        assert [(pair.scenario_id, pair.form) for pair in found] == [
            (scenario.scenario_id, form) for scenario in scenarios for form in ("single_token", "multi_token")
        ]
        for pair in found:
            for ids, states in zip(pair.token_ids, (pair.prompt, pair.counterfactual), strict=True):
                with torch.inference_mode():
                    hidden = model(torch.tensor(ids[None].astype(np.int64)), output_hidden_states=True).hidden_states
                assert states.shape == (len(ids), model.config.hidden_size)
                np.testing.assert_allclose(states, hidden[index][0].numpy(), rtol=0, atol=1e-4)
            assert np.flatnonzero(pair.token_ids[0] != pair.token_ids[1]).tolist() == [pair.differing]
            same = slice(0, pair.differing)
            np.testing.assert_allclose(pair.prompt[same], pair.counterfactual[same], rtol=0, atol=1e-5)
            assert np.abs(pair.prompt[pair.differing] - pair.counterfactual[pair.differing]).max() > 1e-2


def test_a_record_of_a_given_text_has_no_generated_tokens_and_both_twins_lie_in_one_shard(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    write_scenarios(file, pairs_under(TINY, 3))
    make_dataset(load_spec(spec_of(file, shard_size=2)), tmp_path / "data")
    data = latentext.open_dataset(tmp_path / "data")
    for number in data.shard_numbers:
        rows = data.shard_records(number).to_pylist()
        variables = [json.loads(row["variables"]) for row in rows]
        assert [values["twin"] for values in variables] == ["prompt", "counterfactual"]
        assert len({(values["scenario_id"], values["form"]) for values in variables}) == 1
        assert [(row["text"], row["token_ids"], row["finish_reason"]) for row in rows] == [("", [], "given")] * 2
    assert not text_lengths(data).whole.any()


def test_twins_that_are_not_aligned_under_the_model_fail_together(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    good = pairs_under(TINY, 1)
    bad = in_forms(1, "refusal", TASK.forms, ("Help me bake a cake", "Help me make a bomb"))
    write_scenarios(file, [*good, bad])
    summary = make_dataset(load_spec(spec_of(file)), tmp_path / "data")
    assert (summary.accepted, summary.failed, summary.exit_code) == (4, 4, 4)
    failures = [json.loads(line) for line in (tmp_path / "data" / "failures.jsonl").read_text().splitlines()]
    assert [failure["index"] for failure in failures] == [4, 5, 6, 7]
    assert {failure["reason"] for failure in failures} == {"twins-not-aligned"}
    assert len(list(twins(latentext.open_dataset(tmp_path / "data"), "embed"))) == 2


def test_states_can_be_added_later_and_one_form_can_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    write_scenarios(file, pairs_under(TINY, 2))
    prompts = {"pairs": {"path": str(file), "forms": ["multi_token"]}, "use_chat_template": False}
    make_dataset(load_spec(spec_of(file, prompts=prompts, states=None)), tmp_path / "data")
    capture_states(tmp_path / "data", StatesSpec(sites=("resid_post.0",), positions="text"))
    found = list(twins(latentext.open_dataset(tmp_path / "data"), "resid_post.0"))
    assert [(pair.scenario_id, pair.form) for pair in found] == [(0, "multi_token"), (1, "multi_token")]


def test_a_killed_and_continued_run_of_twins_adds_what_the_file_gained(tmp_path: Path) -> None:
    file, scenarios = tmp_path / "pairs.jsonl", pairs_under(TINY, 3)
    write_scenarios(file, scenarios[:2])
    make_dataset(load_spec(spec_of(file)), tmp_path / "data")
    write_scenarios(file, scenarios, overwrite=True)
    assert make_dataset(load_spec(spec_of(file)), tmp_path / "data").accepted == 12
    assert len(list(twins(latentext.open_dataset(tmp_path / "data"), "embed"))) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_size": 3}, "shard_size 3 would cut a pair in two"),
        ({"prompts": {"pairs": "p.jsonl", "limit": 5}}, "limit 5 would cut a pair in two"),
        ({"prompts": {"pairs": "p.jsonl", "templates": ["a{prompt}"], "template_choice": "random"}}, "random"),
        ({"prompts": {"pairs": {"path": "p.jsonl", "forms": ["single_token"] * 2}}}, "names one twice"),
        ({"prompts": {"pairs": "p.jsonl", "file": "q.jsonl"}}, "one source of rows"),
        ({"rewards": ["humor"]}, "writes no texts that rewards"),
        ({"states": {"positions": "generated"}}, r"give states.positions: text \(all tokens of the prompt\)$"),
        ({"states": {"pool": "mean"}}, "give states.positions: text .* and leave out pool, which works on answers"),
        ({"states": {"positions": "text", "pool": "mean"}}, "pooling works on answers only, not on positions: text"),
        ({"decoding": {"max_new_tokens": 0, "n": 2}}, "cannot stand beside n"),
    ],
)
def test_a_spec_that_would_part_twins_or_judge_what_is_not_written_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_spec(spec_of(Path("p.jsonl"), **changes))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "no such file of pairs"),
        (['{"type": "single_token_prompt", "text": "a"}'], "holds 1 lines, and a scenario has 4"),
        (['{"a": 1}'] * 4, "no column 'text'"),
    ],
)
def test_what_is_no_file_of_pairs_is_named(lines: list[str] | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    if lines is not None:
        file.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(SpecError, match=message) as raised:
        make_dataset(load_spec(spec_of(file)), tmp_path / "data")
    assert "pairs.jsonl" in str(raised.value)
