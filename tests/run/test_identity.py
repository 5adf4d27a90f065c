"""Whatever decides an output is held: another value between two runs is refused, or makes scores or states of its own.

docs/architecture.md has the table (*What decides an output*); each of its rows names the test that holds it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.run.made import contents

import latentext
from latentext.cli.app import exit_code
from latentext.engines.opening import model_facts, open_transformers
from latentext.errors import SpecError
from latentext.models.deciding import end_tokens_of, further_facts
from latentext.models.resolve import TINY_FOLDER, resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.run.merging import merge_parts
from latentext.run.part import RunPart
from latentext.run.provenance import make_identity, read_provenance
from latentext.run.runner import make_dataset
from latentext.run.verification import verify
from latentext.spec import ApiOptions, Decoding, ModelSpec, PromptSpec, Spec, VllmOptions
from latentext.spec.files import load_spec

OLD = Path(__file__).parents[1] / "data" / "made_by_0.1.0"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of one's own, to be edited."""
    return Path(shutil.copytree(TINY_FOLDER, tmp_path / "model"))


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def run(model: Path, root: Path, limit: int, part: RunPart | None = None, **fields: Any) -> int:
    prompts = {"template": "Say {w} {n} times.", "grid": {"n": [2, 3], "w": ["red", "blue"]}, "limit": limit}
    whole = {"model": {"name": str(model)}, "prompts": prompts, "decoding": {"max_new_tokens": 12}, "shard_size": 1}
    return make_dataset(load_spec({**whole, **fields}), root, part=part).accepted


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("generation_config.json", {"eos_token_id": [2331]}),
        ("generation_config.json", {"eos_token_id": 2331}),
        ("generation_config.json", {"eos_token_id": [1, 4, 2331, 7]}),
        ("tokenizer_config.json", {"eos_token": "<|end_of_text|>"}),
    ],
)
def test_other_end_tokens_between_two_runs_are_refused(
    model: Path, tmp_path: Path, file: str, fields: dict[str, Any]
) -> None:
    root = tmp_path / "data"
    assert run(model, root, 2) == 2
    assert read_provenance(root).identity["model.end_tokens"] == [1, 4]  # type: ignore[union-attr]
    if file == "tokenizer_config.json":
        edit(model / "generation_config.json", eos_token_id=[1])  # So the tokenizer's own end token is the other one.
        edit(model / file, **fields)
    else:
        edit(model / file, **fields)
    before = contents(root)
    with pytest.raises(SpecError, match=r"model\.end_tokens was \[1, 4\] and is \["):
        run(model, root, 4)
    assert contents(root) == before
    assert any("model.end_tokens" in str(finding) and "was [1, 4]" in str(finding) for finding in verify(root))


def test_other_end_tokens_are_refused_where_the_model_lies_without_a_generation_config(
    model: Path, tmp_path: Path
) -> None:
    (model / "generation_config.json").unlink()
    run(model, tmp_path / "data", 2)
    (model / "generation_config.json").write_text('{"eos_token_id": [2331]}')
    with pytest.raises(SpecError, match=r"model\.end_tokens was \[.*\] and is \[4, 2331\]"):
        run(model, tmp_path / "data", 4)


def test_a_generation_config_that_is_worded_otherwise_is_the_same(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / "data", 2)
    edit(model / "generation_config.json", eos_token_id=[4, 1, 4], temperature=0.3, top_p=0.2, max_length=9)
    assert run(model, tmp_path / "data", 4) == 4


def test_parts_with_other_end_tokens_are_not_merged(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / "one", 4, RunPart(1, 2))
    edit(model / "generation_config.json", eos_token_id=[2331])
    run(model, tmp_path / "two", 4, RunPart(2, 2))
    with pytest.raises(SpecError, match=r"made by another run than .*one: model\.end_tokens differ"):
        merge_parts([tmp_path / "one", tmp_path / "two"], tmp_path / "whole")


@pytest.mark.parametrize(
    ("generation", "config"),
    [
        ({"eos_token_id": 7}, {}),
        ({"eos_token_id": [7, 9]}, {"eos_token_id": 3}),
        ({}, {"eos_token_id": 3}),
        (None, {"eos_token_id": [3, 5]}),
        (None, {"eos_token_id": None}),
        (None, {}),
    ],
)
def test_end_tokens_are_known_before_the_weights_are_loaded(
    model: Path, generation: dict[str, Any] | None, config: dict[str, Any]
) -> None:
    path = model / "generation_config.json"
    path.unlink() if generation is None else path.write_text(json.dumps(generation))
    edit(model / "config.json", **config)
    loaded = open_transformers(ModelSpec(name=str(model)))
    source = resolve_model(str(model))
    assert end_tokens_of(source, load_tokenizer(source)) == loaded.loaded.eos_token_ids
    assert model_facts(ModelSpec(name=str(model))).further == model_facts(ModelSpec(name=str(model)), loaded).further


@pytest.mark.parametrize("eos", ["four", [[1]], {"a": 1}])
def test_end_tokens_that_are_no_ids_are_one_line(model: Path, eos: Any) -> None:
    edit(model / "generation_config.json", eos_token_id=eos)
    with pytest.raises(SpecError, match=r"^model .*cannot be loaded"):
        model_facts(ModelSpec(name=str(model)))


# Code, adapters, tokenizers.


def test_custom_code_that_changed_is_another_identity(model: Path) -> None:
    def facts(trust: bool = True) -> Any:
        source = resolve_model(str(model))
        return further_facts(source, load_tokenizer("tiny"), trust_remote_code=trust).get("model.code")

    (model / "modeling_own.py").write_text("x = 1\n")
    assert facts() is None, "nothing names it, so nothing runs it"
    edit(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]})
    first = facts()
    assert first is not None
    assert facts(trust=False) is None
    (model / "modeling_own.py").write_text("x = 2\n")
    second = facts()
    assert second not in (first, None)
    other = model.parent / "other"
    other.mkdir()
    (other / "code.py").write_text("y = 1\n")
    edit(model / "tokenizer_config.json", auto_map={"AutoTokenizer": [f"{other}--code.Own", None]})
    third = facts()
    (other / "code.py").write_text("y = 2\n")
    assert len({first, second, third, facts()}) == 4


def test_an_adapter_that_cannot_be_applied_is_refused_and_one_that_can_is_held(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(model, tmp_path / "data", 2)
    (model / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    with pytest.raises(SpecError, match=r"an adapter is beside the weights .*, and peft is not installed; pip install"):
        run(model, tmp_path / "data", 4)
    (tmp_path / "lib" / "peft").mkdir(parents=True)
    (tmp_path / "lib" / "peft" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))

    def adapter() -> str:
        return str(further_facts(resolve_model(str(model)), load_tokenizer("tiny"))["model.adapter"])

    found = [adapter()]
    (model / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    found.append(adapter())
    (model / "adapter_model.bin").write_bytes(b"weights")
    found.append(adapter())
    assert len(set(found)) == 3


class SlowTokenizer:
    """Answers as a tokenizer without a fast backend does."""

    eos_token_id = 4

    def __init__(self, folder: Path):
        self.vocab_files_names = {"vocab_file": "spiece.model"}
        self.vocab_file = str(folder / "spiece.model")
        self.added_tokens_decoder = {9: next(iter(load_tokenizer("tiny").added_tokens_decoder.values()))}


def test_the_files_of_a_slow_tokenizer_are_held(model: Path) -> None:
    source = resolve_model(str(model))
    (model / "spiece.model").write_bytes(b"one")
    found = {further_facts(source, SlowTokenizer(model))["tokenizer.files"]}  # type: ignore[arg-type]
    (model / "spiece.model").write_bytes(b"two")
    found.add(further_facts(source, SlowTokenizer(model))["tokenizer.files"])  # type: ignore[arg-type]
    assert len(found) == 2
    assert "tokenizer.files" not in further_facts(source, load_tokenizer(source))


# Datasets of 0.1.0, whose identity lacks these facts.


def test_a_dataset_of_0_1_0_records_its_end_tokens_once_and_is_held_to_them(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Path(shutil.copytree(OLD, tmp_path / "old"))
    command = ["run", str(old / "bank.yaml"), "--output", str(old / "bank"), "--model", str(model)]
    assert exit_code(command) == 0
    assert "made by latentext 0.1.0, which did not record end tokens" in " ".join(capsys.readouterr().err.split())
    identity = read_provenance(old / "bank").identity  # type: ignore[union-attr]
    assert (identity["version"], identity["model.end_tokens"]) == (2, [1, 4])
    assert verify(old / "bank", sample=0) == []
    assert exit_code(command) == 0
    assert "did not record" not in capsys.readouterr().err
    edit(model / "generation_config.json", eos_token_id=[2331])
    assert exit_code([*command, "--set", "prompts.limit=4"]) == 2
    assert "model.end_tokens was [1, 4] and is [4, 2331]" in " ".join(capsys.readouterr().err.split())


def test_a_part_of_0_1_0_is_merged_with_one_that_knows_more(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / "one", 4, RunPart(1, 2))
    run(model, tmp_path / "two", 4, RunPart(2, 2))
    path = tmp_path / "one" / "provenance.json"
    facts = json.loads(path.read_text())
    del facts["sha256"], facts["identity"]["model.end_tokens"]
    facts["identity"]["version"] = 1
    path.write_text(json.dumps(facts))
    assert merge_parts([tmp_path / "one", tmp_path / "two"], tmp_path / "whole")["accepted"] == 4
    assert run(model, tmp_path / "whole", 4) == 4
    assert read_provenance(tmp_path / "whole").identity["model.end_tokens"] == [1, 4]  # type: ignore[union-attr]
    assert len(latentext.open_dataset(tmp_path / "whole").records()) == 4


# Every field of a spec.

_DECIDES_NOTHING = {
    "model": {"revision", "threads", "batch_tokens", "batch_size", "trust_remote_code", "local"},
    "decoding": {"n"},
    "model.api": {
        "base_url",
        "concurrency",
        "requests_per_minute",
        "tokens_per_minute",
        "timeout",
        "max_tries",
        "compare_prompt_tokens",
        "prices",
    },
    "model.vllm": {"gpu_memory_utilization", "enforce_eager", "capture"},
}
"""Fields that are no part of the identity themselves: what they lead to is (contents of files), they are recorded and
taken over (threads, batches), may grow (n), or decide when and where alone."""

_OTHER = {
    "model.name": "x", "model.engine": "vllm", "model.dtype": "bfloat16", "model.device": "cuda",
    "model.device_map": "auto", "model.attention": "eager", "model.quantization": "bitsandbytes-8bit",
    "decoding.temperature": 0.5, "decoding.temperatures": (0.5, 1.0), "decoding.top_k": 5, "decoding.top_p": 0.5,
    "decoding.min_p": 0.5, "decoding.repetition_penalty": 1.1, "decoding.presence_penalty": 0.1,
    "decoding.frequency_penalty": 0.1, "decoding.no_repeat_ngram_size": 2, "decoding.stop": ("a",),
    "decoding.min_new_tokens": 1, "decoding.max_new_tokens": 7, "decoding.logprobs": True, "decoding.entropy": True,
    "decoding.expect": "text", "model.vllm.max_model_len": 99, "model.vllm.quantization": "awq",
    "model.vllm.tensor_parallel_size": 2, "model.api.request": {"reasoning_effort": "low"},
}  # fmt: skip


@pytest.mark.parametrize("part", ["decoding", "model", "model.vllm", "model.api"])
def test_every_field_of_a_spec_is_in_the_identity_or_known_to_decide_nothing(part: str) -> None:
    kinds = {"decoding": Decoding, "model": ModelSpec, "model.vllm": VllmOptions, "model.api": ApiOptions}
    engine = {"model.vllm": {"engine": "vllm", "vllm": {}}, "model.api": {"engine": "openai", "api": {}}}.get(part, {})
    base = Spec(prompts=PromptSpec(list=("a",)), model=ModelSpec(**engine))

    def identity(spec: Spec) -> dict[str, Any]:
        from latentext.models import model_identity

        remote = spec.model.remote
        facts = {"dtype": None if remote else spec.model.dtype, "device": None if remote else spec.model.device}
        return make_identity(
            spec, model=model_identity(spec.model) if remote else spec.model.name, tokenizer="t", **facts
        )

    for name in set(kinds[part].model_fields) - _DECIDES_NOTHING[part] - {"api", "vllm"}:
        changed = kinds[part].model_validate({name: _OTHER[f"{part}.{name}"]})
        parts = part.split(".")
        inner = changed if len(parts) == 1 else base.model.model_copy(update={parts[1]: changed})
        if part == "model" and name != "engine":
            inner = base.model.model_copy(update={name: getattr(changed, name)})
        spec = base.model_copy(update={parts[0]: inner})
        assert identity(spec) != identity(base), name


def test_states_of_a_servers_texts_are_read_from_one_model_only(
    stories260k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentext.engines.server.standin import StandIn
    from latentext.run.runner import capture_states
    from latentext.spec import StatesSpec

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    local = Path(shutil.copytree(stories260k, tmp_path / "local"))
    with StandIn() as server:
        api = {"name": "m", "engine": "openai", "local": str(local), "api": {"base_url": server.url}}
        api["api"]["compare_prompt_tokens"] = False  # type: ignore[index]  # The stand-in has no tokenizer.
        prompts = {"list": ["Once", "Twice"], "use_chat_template": False}
        spec = load_spec({"model": api, "prompts": prompts, "decoding": {"max_new_tokens": 8}})
        make_dataset(spec, tmp_path / "data")
        capture_states(tmp_path / "data", StatesSpec(sites=("embed",)))
        capture_states(tmp_path / "data", StatesSpec(sites=("final_norm",)))
        weights = bytearray((local / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (local / "model.safetensors").write_bytes(weights)
        with pytest.raises(SpecError, match=r"was read from other weights than model\.local has now"):
            capture_states(tmp_path / "data", StatesSpec(sites=("resid_post.1",)))


# Rewards.


@pytest.fixture
def reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Writes a reward whose file imports others of the user's own; gives the identity that it has now."""
    from latentext.rewards import reward_settings
    from latentext.rewards.entries import parse_reward

    own = tmp_path / "own"
    (own / "tools" / "deep").mkdir(parents=True)
    (own / "r.py").write_text(
        "import json, numpy\nfrom latentext.rewards import reward\nfrom helper_of_r import weight\n"
        "@reward('r')\ndef r(candidate):\n    from tools.deep import words\n    return weight * words.COUNT\n"
    )
    (own / "helper_of_r.py").write_text("weight = 1.0\n")
    (own / "tools" / "__init__.py").write_text("")
    (own / "tools" / "deep" / "__init__.py").write_text("from . import words\nfrom ..base import *\n")
    (own / "tools" / "deep" / "words.py").write_text("COUNT = 2\n")
    (own / "tools" / "base.py").write_text("BASE = 1\n")
    (own / "tools" / "unused.py").write_text("UNUSED = 1\n")
    monkeypatch.syspath_prepend(str(own))

    def identity() -> str:
        return str(reward_settings(parse_reward({"name": "r", "function": f"{own / 'r.py'}:r"}))["function"])

    return identity


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("r.py", True),
        ("helper_of_r.py", True),
        ("tools/__init__.py", True),
        ("tools/deep/__init__.py", True),
        ("tools/deep/words.py", True),
        ("tools/base.py", True),
        ("tools/unused.py", False),
    ],
)
def test_a_reward_is_another_one_when_a_local_file_that_it_imports_changed(
    tmp_path: Path, reward: Callable[[], str], file: str, counts: bool
) -> None:
    before = reward()
    with (tmp_path / "own" / file).open("a") as opened:
        opened.write("more = 1\n")
    assert (reward() != before) is counts


def test_a_reward_that_imports_nothing_local_keeps_the_identity_that_it_had_in_0_1_0(tmp_path: Path) -> None:
    import hashlib

    from latentext.rewards.functions import function_identity, load_function

    path = tmp_path / "r.py"
    path.write_text(
        "import json, torch\nfrom latentext.rewards import reward\n@reward('r')\ndef r(candidate):\n    return 1.0\n"
    )
    assert function_identity(load_function(f"{path}:r")) == f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
