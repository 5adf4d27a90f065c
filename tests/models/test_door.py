"""Whatever is wrong with a model's files, a command ends with one line that names it, and none of its code is run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from tests.engines.families import _LLAMA_LIKE, EOS, VOCABULARY, byte_tokenizer, random_model

import latentext
from latentext.cli.app import exit_code
from latentext.errors import SpecError
from latentext.models.door import guarded
from latentext.rewards.encoding import reward_model_identity
from latentext.studies.pairs.chat import chat_renderers
from latentext.studies.pairs.tokenizer import load_tokenizer

# As Git LFS leaves it: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n"
CODE = 'import pathlib\npathlib.Path(__file__).with_name("ran").touch()\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", random_model("llama"))


def saved(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def run(folder: Path, *options: str, template: bool = False, **parts: Any) -> int:
    """The exit code of a run over two prompts, with states."""
    spec = {
        "model": {"name": str(folder)},
        "prompts": {"list": ["Hello there", "and more words"], "use_chat_template": template},
        "decoding": {"max_new_tokens": 4},
        "states": {"sites": ["final_norm"]},
        "output": str(folder.with_name("data")),
        **parts,
    }
    path = folder.with_name("spec.yaml")
    path.write_text(yaml.dump(spec))
    return exit_code(["run", str(path), *options])


def written(name: str, text: str | bytes) -> Callable[[Path], object]:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / name).write_bytes(data)


def configured(**changes: Any) -> Callable[[Path], object]:
    return _changed("config.json", changes)


def _changed(name: str, changes: dict[str, Any]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) | changes
        kept = {field: value for field, value in content.items() if value != "left out"}
        (folder / name).write_text(json.dumps(kept))

    return change


def with_code(name: str, **auto_map: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        kind = {"model_type": "own"} if name == "config.json" else {"tokenizer_class": "Own"}
        _changed(name, {"auto_map": auto_map, **kind})(folder)
        (folder / "own.py").write_text(CODE)

    return change


def moved(name: str, to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).rename(folder / to)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "unknown type": (configured(model_type="nosuch"), r"model_type 'nosuch', which transformers \S+ does not know"),
    "no type": (configured(model_type="left out"), "names no model_type"),
    "own code": (with_code("config.json", AutoConfig="own.Config"), r"trust_remote_code: true"),
    "own tokenizer": (with_code("tokenizer_config.json", AutoTokenizer=["own.T", None]), r"trust_remote_code: true"),
    "empty object": (written("config.json", "{}"), "names no model_type"),
    "empty file": (written("config.json", ""), r"config\.json is no JSON"),
    "null": (written("config.json", "null"), r"config\.json holds no JSON object"),
    "a list": (written("config.json", "[1]"), r"config\.json holds no JSON object"),
    "half": (written("config.json", '{"model_type":'), r"config\.json is no JSON"),
    "latin-1": (written("config.json", b'{"model_type": "\xff"}'), r"config\.json is no JSON"),
    "heads text": (configured(num_attention_heads="four"), "num_attention_heads"),
    "heads null": (configured(num_attention_heads=None), "num_attention_heads"),
    "no heads": (configured(num_attention_heads=0), "ZeroDivisionError"),
    "minus a layer": (configured(num_hidden_layers=-1), "-1 layers"),
    "rope": (configured(rope_parameters={"rope_type": "nosuch"}), "nosuch"),
    "activation": (configured(hidden_act="nosuch"), "nosuch"),
    "dtype": (configured(dtype="float99"), "float99"),
    "quantisation": (configured(quantization_config=[1]), "cannot be loaded"),
    "end token": (configured(eos_token_id="<end>"), "eos_token_id"),
    "generation": (written("generation_config.json", "{"), r"generation_config\.json is no JSON"),
    "generation list": (written("generation_config.json", "[]"), r"generation_config\.json holds no JSON object"),
    "tokenizer": (written("tokenizer.json", '{"version": "1.0"}'), "cannot be loaded"),
    "tokenizer empty": (written("tokenizer.json", ""), r"tokenizer\.json is no JSON"),
    "tokenizer list": (written("tokenizer_config.json", "[]"), r"tokenizer_config\.json holds no JSON object"),
    "no tokenizer": (moved("tokenizer.json", "other"), "holds no tokenizer"),
    "weights": (written("model.safetensors", "not weights"), "SafetensorError"),
    "pickle": (written("model.safetensors", b"\x80\x02junk"), "cannot be loaded"),
    "index": (written("model.safetensors.index.json", "{}"), "cannot be loaded|missing"),
    **{
        f"pointer {name}": (written(name, POINTER), rf"{name} is a Git LFS pointer.*git lfs pull")
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
    },
    "pointer weights": (written("model.safetensors", POINTER), r"model\.safetensors is a Git LFS pointer"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_models_files_is_one_line(folder: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, expected = FAULTS[fault]
    if fault == "index":
        moved("model.safetensors", "model-1-of-2.safetensors")(folder)
    spoil(folder)
    assert run(folder) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("latentext: ")
    assert _matches(expected, lines[0])
    assert run(folder, "--dry-run") in (0, 1, 2)
    assert len(capsys.readouterr().err.splitlines()) <= 1
    assert not (folder / "ran").exists()


def _matches(pattern: str, line: str) -> bool:
    return re.search(pattern, line) is not None


_OTHER_SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "T5": (
        lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(vocab_size=VOCABULARY, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=4)
        ),
        "T5ForConditionalGeneration is no model of the kind",
    ),
    "BART": (
        lambda: transformers.BartForConditionalGeneration(
            transformers.BartConfig(
                vocab_size=VOCABULARY, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
            )
        ),
        "files are of a BartForConditionalGeneration, not of a BartForCausalLM",
    ),
    "reward": (
        lambda: transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**_LLAMA_LIKE, num_labels=1)),
        "files are of a LlamaForSequenceClassification, not of a LlamaForCausalLM",
    ),
    "vision": (
        lambda: transformers.ViTModel(
            transformers.ViTConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8,
                patch_size=4,
            )
        ),
        "ViTModel is no model of the kind",
    ),
    "Mamba": (
        lambda: transformers.MambaForCausalLM(
            transformers.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4)
        ),
        "MambaForCausalLM keeps more than keys and values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_that_is_no_causal_language_model_is_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, expected = OTHERS[kind]
    folder = saved(tmp_path / "model", make())
    assert run(folder) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and expected in lines[0]
    run(folder, "--dry-run")
    assert len(capsys.readouterr().err.splitlines()) <= 1


def test_dense_granite_4_runs_as_it_generates(tmp_path: Path) -> None:
    config = transformers.GraniteMoeHybridConfig(
        **_LLAMA_LIKE,
        num_local_experts=0,
        num_experts_per_tok=0,
        shared_intermediate_size=32,
        layer_types=["attention"] * 3,
        mamba_n_heads=8,
        mamba_d_head=8,
    )
    model = transformers.GraniteMoeHybridForCausalLM(config).eval()
    folder = saved(tmp_path / "model", model)
    assert run(folder) == 0
    tokenizer = byte_tokenizer()
    for record in latentext.open_dataset(tmp_path / "data").records().to_pylist():
        prompt = tokenizer(record["prompt"], return_tensors="pt", add_special_tokens=False)
        ids = prompt["input_ids"]
        for _ in range(4):  # Without a cache: transformers 5.14 cannot generate with this model.
            ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
        assert record["token_ids"] == ids[0, prompt["input_ids"].shape[1] :].tolist()


TEMPLATES = {
    "{{ 1 + 'a' }}": "TypeError",
    "{{ 1 // 0 }}": "ZeroDivisionError",
    "{% if %}": "refuses the conversation",
    "{% for i in range(100000000) %}{% endfor %}": "OverflowError",
    "{{ messages[5]['content'] }}": "has no element 5",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "RecursionError",
    "{{ [1, 'a'] | sort }}": "TypeError",
    "{{ 1 + none }}": "TypeError",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_that_fails_is_one_line(folder: Path, template: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "chat_template.jinja").write_text(template)
    assert run(folder, template=True) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and _matches(TEMPLATES[template], lines[0])


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        ([{"name": "tool_use", "template": "x"}, {"name": "rag", "template": "x"}], "named rag, tool_use"),
        (5, "a chat template that is no text"),
    ],
)
def test_templates_that_exist_only_by_name_are_named(
    folder: Path, templates: Any, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _changed("tokenizer_config.json", {"chat_template": templates})(folder)
    assert run(folder, template=True) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and expected in lines[0] and "use_chat_template: false" in lines[0]


def test_of_several_templates_the_default_one_is_used(folder: Path) -> None:
    named = [
        {"name": "tool_use", "template": "wrong"},
        {"name": "default", "template": "right {{ messages[0]['content'] }}"},
    ]
    _changed("tokenizer_config.json", {"chat_template": named})(folder)
    assert run(folder, template=True) == 0
    prompts = [record["prompt"] for record in latentext.open_dataset(folder.with_name("data")).records().to_pylist()]
    assert prompts == ["right Hello there", "right and more words"]


def test_a_template_that_is_a_git_lfs_pointer_is_no_template(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "chat_template.jinja").write_text(POINTER)
    assert run(folder, template=True) == 2
    assert "chat_template.jinja is a Git LFS pointer" in capsys.readouterr().err


def test_a_pointer_beside_whole_files_that_are_read_instead_is_no_fault(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_text(POINTER)
    (folder / "tokenizer.model").write_text(POINTER)
    assert run(folder) == 0


@pytest.mark.parametrize("numbers", [[EOS, 99999], [EOS, -1], [EOS, VOCABULARY]])
def test_end_tokens_beyond_the_vocabulary_are_ignored_with_a_note(
    folder: Path, numbers: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": numbers}))
    assert run(folder, decoding={"max_new_tokens": 4, "min_new_tokens": 2}) == 0
    assert f"end token {numbers[1]} is ignored: the vocabulary has {VOCABULARY} tokens" in caplog.text


def test_rewards_and_pairs_read_tokenizers_through_the_same_door(folder: Path) -> None:
    with_code("tokenizer_config.json", AutoTokenizer=["own.T", None])(folder)
    pairs_tokenizer = load_tokenizer(str(folder))
    for ask in (lambda: reward_model_identity(str(folder), None), lambda: chat_renderers([pairs_tokenizer])):
        with pytest.raises(SpecError, match="trust_remote_code"):
            ask()
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "raised",
    [
        KeyError("x"),
        AttributeError("no y"),
        AssertionError(),
        Exception("bare"),
        UnicodeDecodeError("u", b"", 0, 1, ""),
    ],
)
def test_any_exception_of_a_library_is_one_line_and_a_shortage_of_memory_is_handed_on(raised: Exception) -> None:
    with pytest.raises(SpecError, match=r"^model mine: cannot be loaded: ") as refused, guarded("mine"):
        raise raised
    assert "\n" not in str(refused.value)
    with pytest.raises(MemoryError), guarded("mine"):
        raise MemoryError
