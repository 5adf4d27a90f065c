"""The files that the function leaves, their numbers against the published procedure, and what happens to bad input."""

from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.states.comparing import assert_same_states

import latentext
from latentext.engines.engine import Generated
from latentext.engines.transformers.decode import TextInFlight
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import ArgumentError, DatasetError, SpecError
from latentext.request import Failure
from latentext.studies.represent.extract import Representation, extract_and_save_hidden_states
from latentext.studies.represent.options import SYSTEM_TEXTS

TEXTS = ["The cat sat.", "A dog ran to the park and was very happy.", "Tom and Sue like the big red ball."]
POOLS = ("last", "mean", "max")
PLAIN: dict[str, Any] = {"tokenizer_config": {"use_chat_template": False}, "max_new_tokens": 40}


def published_procedure(
    engine: TransformersEngine, prompts: list[str], system: str, pooling: str, limit: int, chat: bool
) -> tuple[list[torch.Tensor], list[str]]:
    """One prompt at a time through ``generate``, all layers of all steps kept, pooled afterwards as gpi-pack does."""
    model, tokenizer = engine.loaded.model, engine.tokenizer
    vectors, texts = [], []
    for prompt in prompts:
        if chat:
            messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
            ids = tokenizer.apply_chat_template(
                messages, add_generation_prompt=False, return_dict=True, return_tensors="pt"
            )["input_ids"]
        else:
            ids = tokenizer(f"{system}\n\n{prompt}", return_tensors="pt", add_special_tokens=False)["input_ids"]
            ids = torch.cat([torch.tensor([[tokenizer.bos_token_id]]), ids], -1)
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=limit,
            do_sample=False,
            output_hidden_states=True,
            return_dict_in_generate=True,
            pad_token_id=tokenizer.eos_token_id,
            eos_token_id=sorted(engine.loaded.eos_token_ids),
        )
        steps = [step[-1][0, -1] for step in output.hidden_states]
        rows = torch.stack(steps[1:] or steps)
        vectors.append({"last": steps[-1], "mean": rows.mean(0), "max": rows.amax(0)}[pooling])
        # gpi-pack decodes the answer alone, by which SentencePiece vocabularies lose the space before it.
        prompt, whole = (tokenizer.decode(part, skip_special_tokens=True) for part in (ids[0], output.sequences[0]))
        texts.append(whole[len(prompt) :])
    return vectors, texts


def vector(folder: Path, name: object, prefix: str = "hidden_") -> torch.Tensor:
    loaded: torch.Tensor = torch.load(folder / f"{prefix}{name}.pt", weights_only=True)
    return loaded


@pytest.mark.parametrize("task", ["create", "repeat"])
def test_vectors_and_texts_are_those_of_the_published_procedure(
    stories: TransformersEngine, tiny: TransformersEngine, tmp_path: Path, task: str
) -> None:
    for name, engine, chat in (("tiny", tiny, True), ("stories", stories, False)):
        config = {"add_generation_prompt": False, "remove_date_lines": False, "use_chat_template": chat}
        folder, limit = tmp_path / name, 40
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extract_and_save_hidden_states(
                TEXTS, folder, tmp_path / f"{name}_texts", engine.tokenizer, engine.loaded.model, task, limit, "v",
                config, None, POOLS,
            )  # fmt: skip
        frame = pd.read_pickle(tmp_path / f"{name}_texts.pkl")
        for pool in POOLS:
            expected, texts = published_procedure(engine, TEXTS, SYSTEM_TEXTS[task], pool, limit, chat)
            assert list(frame["X"]) == texts
            for k, wanted in enumerate(expected):
                made = vector(folder / f"final_norm-{pool}", k, "v")
                assert_same_states(made, wanted[None], f"{name}, {pool}, text {k}")


def test_files_and_frame_are_as_promised(stories260k: Path, tmp_path: Path) -> None:
    tokenizer_config, model_config = {"use_chat_template": False}, {"do_sample": False, "temperature": None}
    made = extract_and_save_hidden_states(
        TEXTS, tmp_path / "deep" / "hidden", tmp_path / "other" / "texts", str(stories260k), str(stories260k),
        "create", 30, "hidden_", tokenizer_config, model_config,
    )  # fmt: skip
    assert (tokenizer_config, model_config) == ({"use_chat_template": False}, {"do_sample": False, "temperature": None})
    frame = pd.read_pickle(tmp_path / "other" / "texts.pkl")
    assert list(frame.columns) == ["X", "P", "cut"] and list(frame["P"]) == TEXTS
    assert (made.texts, made.failed, made.fidelity) == (3, 0, None)
    dataset = latentext.open_dataset(made.dataset)
    assert list(frame["X"]) == dataset.records(["text"])["text"].to_pylist()
    for k in range(3):
        tensor = vector(tmp_path / "deep" / "hidden", k)
        assert tensor.shape == (1, 64) and tensor.is_contiguous() and tensor.device.type == "cpu"
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        assert np.array_equal(tensor[0].numpy(), dataset.states("final_norm")[k])
    assert sorted(path.name for path in (tmp_path / "deep" / "hidden").iterdir()) == [
        "hidden_0.pt", "hidden_1.pt", "hidden_2.pt",
    ]  # fmt: skip


def test_the_same_call_again_and_a_longer_list_continue_and_another_setting_is_refused(
    stories260k: Path, tmp_path: Path
) -> None:
    def call(prompts: list[str] = TEXTS, folder: str = "hidden", **changes: Any) -> Any:
        arguments = {"task_type": "repeat", **PLAIN, **changes}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return extract_and_save_hidden_states(
                prompts, tmp_path / folder, tmp_path / "texts", str(stories260k), str(stories260k), **arguments
            )

    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.glob("hidden/*.pt")}

    call()
    before = contents()
    for receipt in (tmp_path / "texts_dataset" / "records").rglob("*.receipt.json"):
        receipt.unlink()  # As if killed before the commit.
    shutil.rmtree(tmp_path / "hidden")
    assert call().run.tokens > 0
    assert contents() == before
    assert call().run.tokens == 0
    assert call([*TEXTS, "One more."]).texts == 4
    assert before.items() <= contents().items()
    after = contents()
    for changes, what in (
        ({"max_new_tokens": 20}, "decoding.max_new_tokens"),
        ({"task_type": "create"}, "other settings"),
        ({"prompts": ["Another.", *TEXTS[1:], "One more."]}, "holds the prompts of another run"),
        ({"pooling": "mean"}, "holds another vector"),
        ({"folder": "elsewhere", "verify": False}, "decoding.expect"),
    ):
        with pytest.raises(SpecError, match=what):
            call(**{"prompts": [*TEXTS, "One more."], **changes})
    assert contents() == after


def test_foreign_files_are_neither_replaced_nor_joined(stories260k: Path, tmp_path: Path) -> None:
    name = str(stories260k)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "hidden_7.pt").write_bytes(b"precious")
    (tmp_path / "taken.pkl").write_bytes(pickle.dumps("precious"))
    with pytest.raises(SpecError, match=r"hidden_7\.pt of another run"):
        extract_and_save_hidden_states(TEXTS, tmp_path / "hidden", tmp_path / "texts", name, name, **PLAIN)
    (tmp_path / "several" / "final_norm-mean").mkdir(parents=True)
    (tmp_path / "several" / "final_norm-mean" / "hidden_7.pt").write_bytes(b"precious")
    with pytest.raises(SpecError, match=r"final_norm-mean: holds hidden_7\.pt of another run"):
        several = tmp_path / "several"
        extract_and_save_hidden_states(TEXTS, several, tmp_path / "texts", name, name, pooling=("last", "mean"))
    with pytest.raises(SpecError, match=r"taken\.pkl: exists already; choose another place, or remove it"):
        extract_and_save_hidden_states(TEXTS, tmp_path / "new", tmp_path / "taken", name, name, **PLAIN)
    with pytest.raises(SpecError, match="is a file"):
        extract_and_save_hidden_states(TEXTS, tmp_path / "taken.pkl", tmp_path / "texts", name, name, **PLAIN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hidden", "several", "taken.pkl"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": []}, "prompts is empty"),
        ({"prompts": "one string"}, "prompts is one string"),
        ({"prompts": pd.DataFrame({"text": ["a"]})}, "prompts is a DataFrame; give one of its columns"),
        ({"prompts": pd.Series(["a", None, float("nan"), " ", "", 3, "b"])}, "5 of 7 prompts are no text .row 1: "),
        ({"prompts": ["a", "b"], "ids": ["x", "x"]}, "id 'x' stands in rows 0 and 1"),
        ({"prompts": ["a", "b"], "ids": ["x"]}, "1 ids for 2 prompts"),
        ({"ids": ["a/b"]}, "'a/b' cannot be part of a file name"),
        ({"ids": ["long" * 60]}, "'long.*…' cannot be part of a file name"),
        ({"ids": ["half \ud800"]}, "cannot be part of a file name"),
        ({"ids": [".."]}, "'..' cannot be part of a file name"),
        ({"ids": [float("nan")]}, "the id is NaN"),
        ({"pooling": "median"}, "pooling 'median' is not known"),
        ({"pooling": ("none", "mean")}, "none alone"),
        ({"model_config": {"num_beams": 4}}, "num_beams=4: a beam's states belong to several texts"),
        ({"model_config": {"do_sample": True}}, "do_sample=True: the vector must follow from the prompt alone"),
        ({"model_config": {"temperature": 0.7}}, "temperature=0.7: the vector must follow"),
        ({"model_config": {"max_new_tokens": 5}}, "it is an argument of its own"),
        ({"model_config": {"assistant_model": "x"}}, "'assistant_model', which is not supported"),
        ({"model_config": {"repetition_penalty": -1}}, "repetition_penalty"),
        ({"tokenizer_config": {"padding": True}}, "'padding', which is not supported"),
        ({"tokenizer_config": {"add_generation_prompt": 1}}, "is 1; give True or False"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"task_type": " "}, "task_type is ' '"),
        ({"prefix_hidden": "a/b"}, "prefix_hidden is 'a/b'"),
        ({"save_name": "made/"}, "save_name is 'made/'"),
        ({"segments": "sentences"}, "segments need a state for every token; use pooling='none'"),
        ({"segments": "words", "pooling": "none"}, "segments is 'words'"),
        ({"tokenizer": 3, "model": 3}, "model is 3"),
        ({"model": object()}, "model is a object"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folders = {"output_hidden_dir": tmp_path / "h", "save_name": tmp_path / "t"}
    arguments: dict[str, Any] = {"prompts": ["a"], **folders, "tokenizer": "tiny", "model": "tiny", **changes}
    with pytest.raises(ArgumentError, match=message) as caught:
        extract_and_save_hidden_states(**arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_unknown_weights_is_refused(stories: TransformersEngine, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=512, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    with pytest.raises(ArgumentError, match="not loaded from a folder"):
        extract_and_save_hidden_states(TEXTS, tmp_path / "h", tmp_path / "t", stories.tokenizer, model)


@pytest.mark.parametrize("slip", ["repaet", "Repeat", "creat", "create "])
def test_a_slip_of_the_keyboard_warns(slip: str) -> None:
    from latentext.studies.represent.options import system_text

    with pytest.warns(UserWarning, match="is taken as a system text"):
        assert system_text(slip) == slip


def test_a_text_too_long_fails_alone_and_covariates_find_their_texts(stories260k: Path, tmp_path: Path) -> None:
    name, prompts = str(stories260k), [TEXTS[0], "word " * 600, TEXTS[1]]
    with pytest.warns(UserWarning, match="1 of 3 prompts gave no text"):
        made = extract_and_save_hidden_states(
            prompts, tmp_path / "h", tmp_path / "t", name, name, "repeat", ids=["a", "b", "c"], **PLAIN
        )
    frame = pd.read_pickle(tmp_path / "t.pkl")
    assert frame["X"].isna().tolist() == [False, True, False]
    assert sorted(path.name for path in (tmp_path / "h").iterdir()) == ["hidden_a.pt", "hidden_c.pt"]
    table = pd.read_csv(made.dataset.parent / "t_fidelity.csv")
    assert table["id"].tolist() == ["a", "b", "c"] and table["finish_reason"][1] == "prompt-too-long"
    assert made.fidelity is not None and made.fidelity.failed == 1 and made.run.exit_code == 4
    dataset = latentext.open_dataset(made.dataset)
    covariates = pd.DataFrame({"treated": [3, 1, 2]}, index=["c", "a", "b"])
    assert dataset.to_frame(covariates, drop_missing=True)[["id", "treated"]].values.tolist() == [["a", 1], ["c", 3]]
    for wrong, message in (
        (covariates, "only among the covariates"),
        (covariates.drop("a"), "only among the texts"),
        (pd.concat([covariates, covariates]), "twice among the covariates"),
        (covariates.drop("b").rename(columns={"treated": "text"}), "both have a column 'text'"),
    ):
        with pytest.raises(DatasetError, match=message):
            dataset.to_frame(wrong)


def test_texts_that_failed_are_written_when_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = TransformersEngine._finished

    def failing(self: TransformersEngine, text: TextInFlight, *rest: Any) -> Generated | Failure:
        if text.task.request.index == 1:
            return Failure(1, 0, "out-of-memory", "the device has too little memory for this text")
        return finished(self, text, *rest)

    def made(**options: bool) -> Representation:
        return extract_and_save_hidden_states(TEXTS, tmp_path / "h", tmp_path / "t", "tiny", "tiny", **PLAIN, **options)

    with monkeypatch.context() as patched, pytest.warns(UserWarning, match="1 of 3 prompts gave no text"):
        patched.setattr(TransformersEngine, "_finished", failing)
        assert made().failed == 1
    with pytest.warns(UserWarning, match="1 of 3 prompts gave no text"):
        assert made().failed == 1, "not unless it is asked for"
    assert not (tmp_path / "h" / "hidden_1.pt").exists()
    assert made(retry_failed=True).failed == 0
    assert (tmp_path / "h" / "hidden_1.pt").exists() and pd.read_pickle(tmp_path / "t.pkl")["X"].notna().all()


def test_the_end_token_at_once_gives_the_state_at_the_prompts_end(
    stories: TransformersEngine, stories260k: Path, tmp_path: Path
) -> None:
    name = str(stories260k)
    with pytest.warns(UserWarning, match=r"3 of 3 texts ended at once \(x, y, z\): their vectors are the state at"):
        made = extract_and_save_hidden_states(
            TEXTS, tmp_path / "h", tmp_path / "t", name, name, pooling=("last", "mean", "max", "first"),
            tokenizer_config={"use_chat_template": False}, max_new_tokens=1, ids=["x", "y", "z"],
        )  # fmt: skip
    assert made.prompt_end == ["x", "y", "z"]
    for k, ids in enumerate(
        latentext.open_dataset(made.dataset).records(["prompt_token_ids"])["prompt_token_ids"].to_pylist()
    ):
        with torch.inference_mode():
            state = stories.loaded.model.model(torch.tensor([ids])).last_hidden_state[0, -1:]
        for pool in ("last", "mean", "max", "first"):
            assert torch.allclose(vector(tmp_path / "h" / f"final_norm-{pool}", "xyz"[k]), state, atol=1e-4)


KILLED = """
import sys, warnings
from latentext.compat.gpi_pack import extract_and_save_hidden_states
warnings.simplefilter("ignore")
folder, model = sys.argv[1:]
prompts = [f"Once upon a time there were {number} dogs" for number in range(300)]
extract_and_save_hidden_states(prompts, folder + "/hidden", folder + "/texts", model, model, "create", 60,
                               tokenizer_config={"use_chat_template": False})
"""


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_files(stories260k: Path, tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / name), str(stories260k)])

    assert start("undisturbed").wait() == 0
    with start("killed") as process:
        while process.poll() is None and not list(tmp_path.glob("killed/texts_dataset/records/*/*.receipt.json")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "texts.pkl").exists()
    assert start("killed").wait() == 0
    made = [
        {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.suffix in KEPT}
        for root in (tmp_path / "killed", tmp_path / "undisturbed")
    ]
    assert made[0] == made[1]
    assert sum(name.startswith("hidden/") for name in made[0]) == 300


KEPT = {".pt", ".pkl", ".parquet", ".safetensors", ".jsonl"}
