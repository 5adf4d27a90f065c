"""The functions of the length experiments against plain transformers, and against the recipes."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.run.made import small_spec
from tests.states.comparing import assert_same_states
from transformers import AutoTokenizer

import latentext
from latentext.compat import length_prediction
from latentext.compat.length_prediction import apply_chat_template, extract_hidden_states, generate_prompt, load_model
from latentext.errors import ArgumentError, PromptError, SpecError
from latentext.export.saving import save_dataset
from latentext.run.runner import make_dataset

SEED_SIGNATURES = {
    "generate_prompt": "(tokenizer, prompt_template, use_chat_template=True, remove_date_lines=True, **kwargs)",
    "load_model": "(model_name=None, device=None, dtype=None)",
    "extract_hidden_states": "(model, tokenizer, prompt, max_new_tokens=200, temperature=0.0, "
    "layers_to_extract=None, extract_all_layers=False, *, seed=0)",
    "save_dataset": "(output_dir, hidden_states_list, remaining_tokens_list, token_metadata_list, "
    "train_val_split=0.9, additional_metadata=None)",
    "apply_chat_template": "(tokenizer, messages, remove_date_lines=True, add_generation_prompt=True, tokenize=False)",
}


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    return load_model("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def stories(stories260k: Path) -> tuple[Any, Any]:
    return load_model(str(stories260k), device="cpu", dtype=torch.float32)


def plain_generate(model: Any, tokenizer: Any, prompt: str, layers: list[int], **options: Any) -> dict[str, Any]:
    """The seed's method: every layer of every step is kept, and the last position of each step is taken."""
    ids = tokenizer(prompt, add_special_tokens=not prompt.startswith(tokenizer.bos_token or "\0"), return_tensors="pt")
    with torch.no_grad():
        out = model.generate(
            **ids, do_sample=False, output_hidden_states=True, return_dict_in_generate=True, use_cache=True, **options
        )
    generated = out.sequences[0, ids["input_ids"].shape[1] :]
    states = [torch.cat([step[layer][0, -1] for layer in layers]) for step in out.hidden_states]
    return {
        "hidden_states": torch.stack(states).float().numpy(),
        "token_ids": generated.tolist(),
        "remaining": list(range(len(generated) - 1, -1, -1)),
    }


@pytest.mark.parametrize("name", sorted(SEED_SIGNATURES))
def test_arguments_are_those_of_the_seed(name: str) -> None:
    function = getattr(length_prediction, name)
    signature = inspect.signature(function)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == SEED_SIGNATURES[name]


def test_states_labels_and_ids_are_those_of_plain_generation(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    prompt = generate_prompt(tokenizer, 'Print exactly {count} repetitions of "{word}".', count=7, word="apple")
    layers = [-1, 0, 2]
    found = extract_hidden_states(model, tokenizer, prompt, max_new_tokens=60, layers_to_extract=layers)
    expected = plain_generate(model, tokenizer, prompt, layers, max_new_tokens=60)
    assert [token["token_id"] for token in found["token_metadata"]] == expected["token_ids"]
    assert found["remaining_tokens"].tolist() == expected["remaining"]
    assert found["hidden_states"].shape == expected["hidden_states"].shape
    assert np.abs(found["hidden_states"] - expected["hidden_states"]).max() <= 1e-4
    assert found["total_generated"] == len(expected["token_ids"])
    blocks, width = model.config.num_hidden_layers, model.config.hidden_size
    assert found["layers_info"] == {
        "num_layers": blocks + 1,
        "extracted_layers": [blocks, 0, 2],
        "hidden_dim_per_layer": width,
    }


def test_every_layer_of_a_real_model_is_hugging_faces(stories: tuple[Any, Any]) -> None:
    model, tokenizer = stories
    prompt = "Once upon a time there was a little red"
    found = extract_hidden_states(model, tokenizer, prompt, max_new_tokens=400, extract_all_layers=True)
    expected = plain_generate(model, tokenizer, prompt, list(range(6)), max_new_tokens=400)
    assert found["finish_reason"] == "stop"  # Its stories end: the labels below are true.
    assert [token["token_id"] for token in found["token_metadata"]] == expected["token_ids"]
    assert found["remaining_tokens"].tolist() == expected["remaining"]
    found_states, expected_states = (torch.from_numpy(states["hidden_states"]) for states in (found, expected))
    assert_same_states(found_states, expected_states, "every layer")
    assert found["layers_info"]["extracted_layers"] == [0, 1, 2, 3, 4, 5]


def test_a_row_of_the_function_is_the_row_of_a_dataset(
    stories: tuple[Any, Any], stories260k: Path, tmp_path: Path
) -> None:
    model, tokenizer = stories
    make_dataset(small_spec(stories260k, counts=1), tmp_path / "data")
    data = latentext.open_dataset(tmp_path / "data")
    record = data.records().slice(2, 1).to_pylist()[0]
    with pytest.warns(UserWarning, match="cut after 10 tokens"):
        found = extract_hidden_states(model, tokenizer, record["prompt"], max_new_tokens=10)
    view = data.states("final_norm")
    rows = view.text(2)
    assert [token["token_id"] for token in found["token_metadata"]] == record["token_ids"]
    assert found["remaining_tokens"].tolist() == view.rows["remaining"][rows].tolist()
    assert np.abs(found["hidden_states"] - view[rows]).max() <= 1e-4
    assert found["finish_reason"] == record["finish_reason"] == "length"


def test_layers_asked_for_twice_stand_there_twice(stories: tuple[Any, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = extract_hidden_states(*stories, "The", max_new_tokens=3, layers_to_extract=[-1, 5])
        single = extract_hidden_states(*stories, "The", max_new_tokens=3)
    assert np.array_equal(found["hidden_states"], np.tile(single["hidden_states"], 2))


def test_draws_hang_on_the_seed(stories: tuple[Any, Any]) -> None:
    def text(seed: int) -> list[int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = extract_hidden_states(*stories, "One day", max_new_tokens=12, temperature=1.0, seed=seed)
        return [token["token_id"] for token in found["token_metadata"]]

    assert text(3) == text(3)
    assert len({tuple(text(seed)) for seed in range(4)}) > 1


def test_bf16_states_come_as_float32(stories260k: Path) -> None:
    model, tokenizer = load_model(str(stories260k), dtype="bfloat16")
    with pytest.warns(UserWarning):
        found = extract_hidden_states(model, tokenizer, "Tom", max_new_tokens=2)
    assert found["hidden_states"].dtype == np.float32


def test_prompts_are_those_of_the_recipes(materials: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(materials / "tokenizers" / "llama-3.2-instruct")
    messages = [{"role": "user", "content": "Say cat 3 times. Today Date: 1 May"}]
    prompt = generate_prompt(tokenizer, "Say {word} {count} times. Today Date: 1 May", word="cat", count=3)
    assert prompt == apply_chat_template(tokenizer, messages)
    assert "Knowledge" not in prompt and prompt.count("Today Date") == 1
    dated = generate_prompt(tokenizer, "Hello", remove_date_lines=False)
    assert "Cutting Knowledge Date: December 2023" in dated and "Today Date: " in dated
    ids = apply_chat_template(tokenizer, messages, tokenize=True)
    assert isinstance(ids, list) and ids.count(tokenizer.bos_token_id) == 1
    assert not str(apply_chat_template(tokenizer, messages, add_generation_prompt=False)).endswith("assistant\n\n")
    assert generate_prompt(tokenizer, "{a}{{b}}", use_chat_template=False, a=1) == "1{b}"


def test_unusable_arguments_are_one_line(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    for call, error, why in (
        (lambda: generate_prompt(tokenizer, "Say {word}", wrd="a"), ArgumentError, r"no value for \{word\}"),
        (lambda: load_model("tiny", dtype="int8"), ArgumentError, "no dtype 'int8'"),
        (lambda: load_model("tiny", device="warp"), SpecError, "device 'warp'"),
        (lambda: extract_hidden_states(model, tokenizer, "a", layers_to_extract=[99]), SpecError, "out of range"),
        (lambda: extract_hidden_states(model, tokenizer, "a", layers_to_extract=[]), ArgumentError, "is empty"),
        (lambda: extract_hidden_states(model, tokenizer, "a", max_new_tokens=0), ArgumentError, "max_new_tokens 0"),
        (lambda: extract_hidden_states(model, tokenizer, "a " * 3000), PromptError, "context"),
    ):
        with pytest.raises(error, match=why) as raised:
            call()
        assert "\n" not in str(raised.value)


def test_the_six_files_are_read_back_by_numpy_alone(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = tiny
    states: list[Any] = []
    remaining: list[Any] = []
    tokens: list[Any] = []
    for count in range(2, 8):
        prompt = generate_prompt(tokenizer, "Say {word} {count} times.", word="sun", count=count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = extract_hidden_states(model, tokenizer, prompt, layers_to_extract=[-1, 1])
        states.extend(found["hidden_states"])
        remaining.extend(found["remaining_tokens"])
        tokens.extend(found["token_metadata"])
    save_dataset(tmp_path / "data", states, remaining, tokens, 0.67, {"model_name": "tiny", "counts": np.arange(2, 8)})
    program = """
import json, numpy as np, sys
for split in ("train", "val"):
    names = ("hidden_states", "remaining_tokens", "token_metadata")
    s, r, t = (np.load(f"{sys.argv[1]}/{split}_{name}.npy") for name in names)
    types = [str(s.dtype), str(r.dtype), str(t.dtype.descr)]
    print(json.dumps([list(s.shape), *types, r.tolist(), t["token_id"].tolist()]))
    print(json.dumps([t["token_text"].tolist(), float(np.abs(s).sum(dtype="f8"))]))
print("torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program, tmp_path / "data"], capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert lines[-1] == "False"
    (train, train_texts), (val, val_texts) = [[json.loads(lines[i]), json.loads(lines[i + 1])] for i in (0, 2)]
    width = 2 * model.config.hidden_size
    assert train[0][1] == val[0][1] == width and train[0][0] + val[0][0] == len(states)
    assert train[1:4] == ["float32", "int64", "[('token_id', '<i4'), ('token_text', '<U100')]"]
    assert train[4].count(0) == 4 and val[4].count(0) == 2 and train[4][-1] == val[4][-1] == 0  # Texts stay whole.
    assert sorted(train[5] + val[5]) == sorted(token["token_id"] for token in tokens)
    assert sorted(train_texts[0] + val_texts[0]) == sorted(token["token_text"] for token in tokens)
    total = float(np.abs(np.array(states, np.float32)).sum(dtype="f8"))
    assert train_texts[1] + val_texts[1] == pytest.approx(total)
    assert json.loads((tmp_path / "data" / "metadata.json").read_text())["counts"] == [2, 3, 4, 5, 6, 7]
