"""Statistics of a check: every whole error is in one bin, and the moments are those of the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.dataset.correctness import correctness_facts, deviation_bin
from latentext.spec import Spec
from latentext.spec.files import load_spec


@pytest.fixture
def spec() -> Spec:
    return load_spec({"prompts": {"templates": ["Say {word}.", "Now {word}!"], "grid": {"word": ["a"]}}})


def test_bins_have_no_gaps_and_no_overlaps() -> None:
    names = [deviation_bin(error) for error in range(-300, 301)]
    order = list(dict.fromkeys(names))
    assert order[0] == "<-10" and order[-1] == ">+10" and order[5] == "exact"
    # Each bin is one run of errors: what comes back after another bin would overlap with it.
    assert [name for name, before in zip(names, ["", *names], strict=False) if name != before] == order
    assert deviation_bin(0) == "exact" and [deviation_bin(e) for e in (-1, 1)] == ["-1", "+1"]


@given(st.lists(st.integers(-60, 60), min_size=1, max_size=80))
def test_moments_are_those_of_the_errors(spec_errors: list[int]) -> None:
    spec = load_spec({"prompts": {"list": ["x"]}})
    checked = {"exact": spec_errors.count(0)}
    for error in spec_errors:
        checked[f"count_error.{error}"] = checked.get(f"count_error.{error}", 0) + 1
    counts = {"planned": 99, "accepted": len(spec_errors), "rejected": 0, "failed": 0}
    stats = correctness_facts(spec, counts, checked)["correctness_stats"]
    errors = np.array(spec_errors)
    assert stats["mean_count_error"] == pytest.approx(errors.mean())
    assert stats["mean_absolute_count_error"] == pytest.approx(np.abs(errors).mean())
    assert stats["std_count_error"] == pytest.approx(errors.std())
    assert sum(stats["deviation_bins"].values()) == len(errors)
    assert stats["deviation_bins"]["exact"] == stats["exact"] == (errors == 0).sum()


def test_accuracy_is_of_what_was_attempted(spec: Spec) -> None:
    counts = {"planned": 20, "accepted": 6, "rejected": 3, "failed": 1}
    facts = correctness_facts(spec, counts, {"exact": 4, "count_error.0": 4, "count_error.2": 2, "template.1": 9})
    assert facts["num_prompt_templates"] == 2
    assert (facts["planned_samples"], facts["attempted_samples"]) == (20, 10)
    assert facts["correctness_stats"]["accuracy"] == 0.4
    assert facts["prompt_usage_distribution"] == {"1": 9}


def test_nothing_attempted_is_nothing_measured(spec: Spec) -> None:
    stats = correctness_facts(spec, dict.fromkeys(("planned", "accepted", "rejected", "failed"), 0), {})
    assert stats["correctness_stats"]["accuracy"] is None
    assert stats["correctness_stats"]["mean_count_error"] is None
