"""Whole runs with vLLM: the texts of the other engine, one start for a sweep, and a run that goes on after any end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.crash.processes import finish, start
from tests.run.made import commits
from tests.states.comparing import assert_same_states
from tests.vllm.made import vllm_model
from tests.vllm.needed import need_vllm

from latentext.dataset import reader
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.errors import EngineError, SpecError
from latentext.run.runner import make_dataset
from latentext.spec import ModelSpec, Spec
from latentext.spec.files import dump_spec, load_spec

need_vllm()

if TYPE_CHECKING:
    from latentext.engines.vllm.engine import VllmEngine

MARGIN = 1e-3
"""Two tokens whose logits are closer than this may change places between two ways of summing in float32."""


def _spec(model: ModelSpec, **changes: Any) -> Spec:
    fields: dict[str, Any] = {
        "name": "with-vllm",
        "model": model.model_dump(),
        "prompts": {
            "template": "Once upon a time there was a {word} with {count}",
            "grid": {"count": {"range": [0, 5]}, "word": ["cat", "little red dog", "bird", "very big tree"]},
            "use_chat_template": False,
        },
        "decoding": {"max_new_tokens": 40},
        "shard_size": 4,
    }
    return load_spec({**fields, **changes})


def _dialogues(model: ModelSpec, materials: Path) -> Spec:
    prompts = {
        "file": str(materials / "prompts" / "dailydialog-500.ndjson"),
        "columns": {"prompt": "source"},
        "use_chat_template": False,
    }
    return _spec(model, prompts=prompts, decoding={"max_new_tokens": 24}, shard_size=128)


def _records(root: Path) -> list[dict[str, Any]]:
    columns = ["index", "sample", "key", "prompt_token_ids", "token_ids", "text", "finish_reason"]
    return reader.open_dataset(root).records(columns).to_pylist()


def _how(root: Path) -> set[str]:
    return {capture.how for capture in reader.open_dataset(root).captures.values()}


def _assert_same_rows(root: Path, other: Path, site: str) -> None:
    found, expected = (reader.open_dataset(folder).states(site) for folder in (root, other))
    assert found.rows.tolist() == expected.rows.tolist()
    assert_same_states(found.torch(), expected.torch(), site)


@torch.inference_mode()
def _margin(stories: LoadedModel, token_ids: list[int]) -> float:
    """By how much the best next token is ahead of the second."""
    logits = stories.model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0, -1]
    best, second = logits.topk(2).values.tolist()
    return best - second


@pytest.mark.slow
def test_five_hundred_dialogues_go_on_as_with_transformers(
    engine: VllmEngine, stories: LoadedModel, materials: Path, tmp_path: Path
) -> None:
    plain = ModelSpec(name=engine.model.name, threads=1)
    made = make_dataset(_dialogues(engine.model, materials), tmp_path / "vllm", engine=engine)
    expected = make_dataset(_dialogues(plain, materials), tmp_path / "plain", engine=TransformersEngine(stories))
    counts = (expected.accepted, expected.failed)
    assert (made.accepted, made.failed) == counts
    assert made.accepted + made.failed == 500
    assert made.failed > 0, "no dialogue is longer than the context"
    others = []
    for ours, theirs in zip(_records(tmp_path / "vllm"), _records(tmp_path / "plain"), strict=True):
        assert ours["prompt_token_ids"] == theirs["prompt_token_ids"]
        if ours["token_ids"] != theirs["token_ids"]:
            pairs = zip(ours["token_ids"], theirs["token_ids"], strict=False)
            first = next(step for step, (a, b) in enumerate(pairs) if a != b)
            others.append(_margin(stories, [*ours["prompt_token_ids"], *ours["token_ids"][:first]]))
    assert len(others) <= 0.01 * made.accepted, others
    assert all(margin < MARGIN for margin in others), others


def test_a_sweep_over_temperatures_starts_vllm_once_and_never_drains_it(engine: VllmEngine, tmp_path: Path) -> None:
    engine.close()
    started = engine.starts
    for temperature in (0.0, 1.0, 1.5):
        decoding = {"temperature": temperature, "min_new_tokens": 40, "max_new_tokens": 40}
        before = engine.steps
        made = make_dataset(_spec(engine.model, decoding=decoding), tmp_path / str(temperature), engine=engine)
        assert made.accepted == 20
        # Five shards, two at a time. One after the other they would take 200 steps and more.
        assert engine.steps - before < 175
    assert engine.starts - started == 1


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_records(engine: VllmEngine, tmp_path: Path) -> None:
    decoding = {"min_new_tokens": 400, "max_new_tokens": 400}
    spec = _spec(engine.model, decoding=decoding, shard_size=2)
    (tmp_path / "spec.yaml").write_text(dump_spec(spec))
    root, log = tmp_path / "killed", tmp_path / "killed.log"
    process = start(["run", str(tmp_path / "spec.yaml"), "--output", str(root)], log)
    while len(list(root.glob("records/*/*.receipt.json"))) < 2:
        assert process.is_alive(), log.read_text()
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process) == -signal.SIGKILL
    done = {path.name[:5] for path in root.glob("records/*/*.receipt.json")}
    before = {name: seen for name, seen in commits(root).items() if Path(name).name[:5] in done}
    assert len(done) < 10
    assert make_dataset(spec, root, engine=engine).accepted == 20
    make_dataset(spec, tmp_path / "quiet", engine=engine)
    assert _records(root) == _records(tmp_path / "quiet")
    assert {name: seen for name, seen in commits(root).items() if name in before} == before


def test_a_vllm_that_dies_stops_the_run_which_goes_on_later(engine: VllmEngine, tmp_path: Path) -> None:
    """The model inside vLLM is made to fail in the middle of a step, as a lost device would make it."""
    spec = _spec(engine.model)
    make_dataset(spec, tmp_path / "quiet", engine=engine)
    assert engine._loop is not None
    core = engine._loop.engine().engine_core.engine_core
    model = core.model_executor.driver_worker.worker.model_runner.model
    passes = 0

    def fail_at_the_sixtieth(_module: Any, _inputs: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == 60:
            raise RuntimeError("the device is lost\nand much more")

    hook = model.register_forward_pre_hook(fail_at_the_sixtieth)
    try:
        with pytest.raises(EngineError, match=r"vLLM died: .*the same command continues") as died:
            make_dataset(spec, tmp_path / "died", engine=engine)
    finally:
        hook.remove()
    assert "\n" not in str(died.value)
    assert died.value.exit_code == 1
    assert 0 < len(list((tmp_path / "died").glob("records/*/*.receipt.json"))) < 5
    started = engine.starts
    assert make_dataset(spec, tmp_path / "died", engine=engine).accepted == 20
    assert engine.starts == started + 1
    assert _records(tmp_path / "died") == _records(tmp_path / "quiet")


@pytest.mark.slow
def test_states_are_extracted_where_vllm_serves_them_and_replayed_elsewhere(
    stories260k: Path, stories: LoadedModel, tmp_path: Path
) -> None:
    states = {"sites": ["resid_post.1"]}
    plain = _spec(ModelSpec(name=str(stories260k), threads=1), states=states)
    make_dataset(plain, tmp_path / "plain", engine=TransformersEngine(stories))
    model = vllm_model(stories260k, capture="extract")
    assert make_dataset(_spec(model, states=states), tmp_path / "extracted").accepted == 20
    assert _how(tmp_path / "extracted") == {"inflight"}
    _assert_same_rows(tmp_path / "extracted", tmp_path / "plain", "resid_post.1")


def test_two_engines_of_one_process_work_in_turns(engine: VllmEngine, tmp_path: Path) -> None:
    """vLLM's groups of devices belong to the process: the second takes the place of the first, which starts again."""
    other = type(engine)(engine.model, engine.tokenizer)
    spec = _spec(engine.model, decoding={"max_new_tokens": 3})
    started = engine.starts
    for number, each in enumerate((engine, other, engine)):
        make_dataset(spec, tmp_path / str(number), engine=each)
        assert _records(tmp_path / str(number)) == _records(tmp_path / "0")
    assert (engine.starts - started, other.starts) in {(1, 1), (2, 1)}


@pytest.mark.slow
def test_tiny_writes_the_same_answers_and_its_states_are_replayed(tmp_path: Path) -> None:
    prompts = {
        "template": 'Print exactly {n} repetitions of "{word}".',
        "grid": {"n": {"range": [2, 5]}, "word": ["cat", "sun"]},
    }
    states = {"sites": ["final_norm", "resid_post.1"]}
    for name, model in (
        ("vllm", vllm_model("tiny", capture="extract")),
        ("plain", ModelSpec(dtype="float32", threads=1)),
    ):
        assert make_dataset(_spec(model, prompts=prompts, states=states), tmp_path / name).accepted == 6
    assert _records(tmp_path / "vllm") == _records(tmp_path / "plain")
    assert _how(tmp_path / "vllm") == {"replay"}
    for site in states["sites"]:
        _assert_same_rows(tmp_path / "vllm", tmp_path / "plain", site)


@pytest.mark.parametrize(
    ("changes", "kind", "line"),
    [
        ({"device": "meta"}, SpecError, "this vLLM computes on cpu, not on meta"),
        ({"vllm": {"quantization": "gptq"}}, EngineError, "vLLM did not start"),
        ({"vllm": {"max_model_len": 100_000}}, EngineError, "vLLM did not start"),
    ],
    ids=["device", "quantization", "length"],
)
def test_what_vllm_cannot_start_with_is_one_line(
    stories260k: Path, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], line: str
) -> None:
    model = ModelSpec.model_validate({**vllm_model(stories260k).model_dump(), **changes})
    with pytest.raises(kind, match=line) as refused:
        make_dataset(_spec(model), tmp_path / "data")
    assert "\n" not in str(refused.value)
