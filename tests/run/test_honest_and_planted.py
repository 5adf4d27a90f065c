"""`verify` never accuses honest states, also of models with massive components, and always accuses planted faults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.engines.families import BYTES, FAMILIES, byte_tokenizer, loaded_family, ragged_requests, request
from tests.states.captured import write_with_states
from tests.states.massive import MASSIVE, loaded_massive_llama, massive_llama

import latentext
from latentext.engines.transformers.loading import LoadedModel, load_model
from latentext.request import StateRows
from latentext.run.runner import make_dataset
from latentext.run.verification import difference, verify
from latentext.spec import Decoding, ModelSpec, StatesSpec
from latentext.spec.files import load_spec
from latentext.states.replay import WrittenText, replay_with_scales
from latentext.states.rounding import TOLERANCE
from latentext.states.sites import sites_up_to

REAL_MODEL = Path(os.environ.get("LATENTEXT_REAL_MODEL") or Path.home() / ".cache/latentext-smollm2/hf")
EVERY_ROW = StatesSpec(sites=("all",), positions="all")
TOKENS = 36  # From 32 passes on weights are packed.
QUESTIONS = (
    "What is a comet?",
    "Print exactly 7 repetitions of “river”.",
    "Who wrote Hamlet?",
    "Why do cats purr?",
    "7",
)

slow = pytest.mark.slow
IN_FLOAT32 = ["tiny", "stories260k", "massive", *FAMILIES, pytest.param("real", marks=slow)]
IN_BFLOAT16 = ["tiny-bfloat16", "stories260k-bfloat16", pytest.param("real-bfloat16", marks=slow)]


@dataclass(frozen=True)
class Honest:
    """Texts with their states in flight, and what a replay gives: states and the scales of their components."""

    loaded: LoadedModel
    sites: tuple[str, ...]
    written: dict[int, StateRows]
    again: dict[int, StateRows]
    scales: dict[int, dict[str, torch.Tensor]]

    def accusation(self, index: int, site: str, rows: torch.Tensor) -> str | None:
        """What `verify` says of a text whose states at `site` are `rows`."""
        stored = replace(self.written[index], tensors={site: rows})
        return difference(stored, self.again[index], self.scales[index][site], site, self.loaded.dtype)


@pytest.fixture
def honest(request: pytest.FixtureRequest) -> Honest:
    name, _, dtype = request.param.partition("-")
    if name == "stories260k":
        return honest_texts(str(request.getfixturevalue(name)), dtype)
    if name == "real":
        if not (REAL_MODEL / "config.json").exists():
            pytest.skip(f"no model in {REAL_MODEL}; LATENTEXT_REAL_MODEL names another folder")
        return honest_texts(str(REAL_MODEL), dtype)
    return honest_texts(request.param if request.param in FAMILIES else name, dtype)


@cache
def honest_texts(name: str, dtype: str) -> Honest:
    if name in FAMILIES:
        loaded = loaded_family(name)
    elif name == "massive":
        loaded = loaded_massive_llama()
    else:
        loaded = load_model(ModelSpec(name=name, dtype=dtype or "float32", device="cpu"))
    requests = ragged_requests(9, vocabulary=min(BYTES, loaded.vocab_size))
    if Path(name) == REAL_MODEL:
        requests = [request(i, encoded(loaded, question)) for i, question in enumerate(QUESTIONS)]
    sites = sites_up_to(["final_norm"], loaded.layout.num_blocks, unnormed=True)
    texts, written = write_with_states(
        loaded, requests, EVERY_ROW, sites, slots=9, decoding=Decoding(max_new_tokens=TOKENS, temperature=1.0)
    )
    asked = [WrittenText(r.index, 0, r.prompt_token_ids, texts[r.index].token_ids) for r in requests]
    again, scales = {}, {}
    for rows, scale in replay_with_scales(loaded.layout, asked, EVERY_ROW, sites, dtype=loaded.dtype):
        again[rows.index], scales[rows.index] = rows, dict(scale)
    return Honest(loaded, sites, written, again, scales)


def encoded(loaded: LoadedModel, question: str) -> list[int]:
    return list(
        loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
        )
    )


def neighbours_exchanged(honest: Honest, index: int, site: str) -> Iterator[torch.Tensor]:
    rows = honest.written[index].tensors[site]
    for first in range(0, len(rows) - 1, 3):
        if not torch.equal(rows[first], rows[first + 1]):  # One token twice has one embedding.
            changed = rows.clone()
            changed[[first, first + 1]] = rows[[first + 1, first]]
            yield changed


def every_row_one_late(honest: Honest, index: int, site: str) -> Iterator[torch.Tensor]:
    yield torch.roll(honest.written[index].tensors[site], 1, 0)


def another_layer(honest: Honest, index: int, site: str) -> Iterator[torch.Tensor]:
    place, tensors = honest.sites.index(site), honest.written[index].tensors
    for other in (place - 1, place + 1):
        if 0 <= other < len(honest.sites) and tensors[honest.sites[other]].shape == tensors[site].shape:
            yield tensors[honest.sites[other]]


def one_row_larger_by_a_hundredth(honest: Honest, index: int, site: str) -> Iterator[torch.Tensor]:
    rows = honest.written[index].tensors[site]
    for row in range(0, len(rows), 5):
        changed = rows.clone()
        changed[row] *= 1.01
        yield changed


def one_component_off_by_three_times_the_limit(honest: Honest, index: int, site: str) -> Iterator[torch.Tensor]:
    rows, scale = honest.written[index].tensors[site], honest.scales[index][site]
    width = rows.shape[1]
    for row in range(0, len(rows), 5):
        largest, smallest = int(rows[row].abs().argmax()), int(rows[row].abs().argmin())
        for component in (largest, smallest, (7 * row + index) % width):
            changed = rows.clone()
            changed[row, component] += 3 * TOLERANCE[honest.loaded.dtype] * scale[row, component]
            yield changed


def one_usual_component_off_by_a_hundredth_of_itself(honest: Honest, index: int, site: str) -> Iterator[torch.Tensor]:
    """A component of the mean size of its row, which is far below the root mean square of a row with a massive one."""
    rows, scale = honest.written[index].tensors[site], honest.scales[index][site]
    for row in range(0, len(rows), 5):
        mean = rows[row].abs().mean()
        component = int(torch.where(scale[row] < 10 * mean, (rows[row].abs() - mean).abs(), torch.inf).argmin())
        changed = rows.clone()
        changed[row, component] *= 1.01
        yield changed


Fault = Callable[[Honest, int, str], Iterator[torch.Tensor]]
FAULTS: list[Fault] = [
    neighbours_exchanged,
    every_row_one_late,
    another_layer,
    one_row_larger_by_a_hundredth,
    one_component_off_by_three_times_the_limit,
    one_usual_component_off_by_a_hundredth_of_itself,
]


@pytest.mark.parametrize("honest", [*IN_FLOAT32, *IN_BFLOAT16], indirect=True)
def test_honest_states_are_accused_at_no_site(honest: Honest) -> None:
    for index, rows in honest.written.items():
        for site in honest.sites:
            assert honest.accusation(index, site, rows.tensors[site]) is None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("honest", IN_FLOAT32, indirect=True)
def test_a_fault_in_one_text_is_accused_at_every_site(honest: Honest, fault: Fault) -> None:
    missed, planted = [], 0
    for index in honest.written:
        for site in honest.sites:
            for number, changed in enumerate(fault(honest, index, site)):
                planted += 1
                if honest.accusation(index, site, changed) is None:
                    missed.append((index, site, number))
    assert planted
    assert not missed, f"{len(missed)} of {planted} were not accused: {missed[:5]}"


@pytest.mark.parametrize("fault", [every_row_one_late, another_layer])
@pytest.mark.parametrize("honest", IN_BFLOAT16, indirect=True)
def test_a_fault_in_all_texts_is_accused_at_every_site_in_bfloat16(honest: Honest, fault: Fault) -> None:
    for site in honest.sites:
        accused = [
            [honest.accusation(index, site, changed) is not None for changed in fault(honest, index, site)]
            for index in honest.written
        ]
        assert all(map(any, zip(*accused, strict=True))), site


def test_verify_finds_nothing_in_an_untouched_dataset_of_a_model_with_a_massive_component(tmp_path: Path) -> None:
    massive_llama().save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    spec = {
        "model": {"name": str(tmp_path / "model"), "dtype": "float32", "device": "cpu", "threads": 1},
        "prompts": {"list": [{"prompt": q} for q in QUESTIONS], "use_chat_template": False},
        "decoding": {"temperature": 1.0, "max_new_tokens": TOKENS},
        "states": {"sites": ["resid_post.4", "resid_post.1", "final_norm"], "positions": "all"},
    }
    make_dataset(load_spec(spec), tmp_path / "data")
    sizes = np.abs(latentext.open_dataset(tmp_path / "data").states("resid_post.1")[:])
    assert sizes[:, MASSIVE].max() > 20 * np.median(sizes)
    assert verify(tmp_path / "data") == []
